"""Networks whose weights are set by formula, as those behind the recorded reference numbers of `tests/data` were."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.foreign import renamed
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign.architecture import official_names
from models.stylegan2.generator import Generator

DATA = Path(__file__).parent.parent / "data"


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal values seeded by the tensor's official name, scaled so that outputs stay near [-1, 1]."""
    x = np.asarray(np.random.RandomState(zlib.crc32(name.encode())).randn(*shape), dtype=np.float32)
    key = name.split(".", 1)[1]
    if key.endswith("noise_strength"):
        return x * np.float32(0.1)
    if ".torgb.weight" in key or ".torgb.bias" in key:
        return x * np.float32(0.12)
    if key.endswith("affine.bias"):
        return 1 + np.float32(0.1) * x
    if key.endswith("bias"):
        return x * np.float32(0.1)
    if key.startswith("mapping.fc") and key.endswith("weight"):
        return x * np.float32(100)  # stored weights of a layer with learning-rate multiplier 0.01
    if key.endswith("w_avg"):
        return x * np.float32(0.2)
    return x


@dataclass
class Case:
    """One recorded case: its data, and our networks with the official weights."""

    numbers: dict[str, np.ndarray]
    r1_gamma: float
    G: Generator
    D: Discriminator
    G_names: dict[str, str]  # official name -> ours
    D_names: dict[str, str]

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.numbers[key].copy())

    @property
    def c(self) -> Tensor | None:
        return self.tensor("c") if self.G.config.classes else None


def load_case(name: str) -> Case:
    """The case `rgb16` or `labels32`, its networks freshly filled."""
    about = json.loads((DATA / f"{name}.json").read_text())
    o = about["options"]
    shared = {
        "height": o["res"],
        "width": o["res"],
        "channels": o["channels"],
        "classes": o["c_dim"],
        "channel_base": o["channel_base"],
        "channel_max": o["channel_max"],
    }
    d_layers = sum(key.startswith("mapping.fc") and key.endswith("weight") for key in about["D"]) or 8
    g_config = GeneratorConfig(**shared, z_dim=o["z_dim"], w_dim=o["z_dim"], mapping_layers=o["map_layers"])
    d_config = DiscriminatorConfig(**shared, mapping_layers=d_layers, mbstd_group=4)
    G, D = Generator(g_config), Discriminator(d_config)
    g_names, d_names = official_names(G), official_names(D)
    for letter, network, names in (("G", G, g_names), ("D", D, d_names)):
        official = {key: torch.as_tensor(fill(f"{letter}.{key}", tuple(shape))) for key, shape in about[letter].items()}
        network.load_state_dict(renamed({key: official[key] for key in names}, names, network))
    with np.load(DATA / f"{name}.npz") as file:
        numbers = {key: file[key] for key in file.files}
    return Case(numbers, about["r1_gamma"], G, D, g_names, d_names)


def official_tensors(name: str, letter: str) -> dict[str, Tensor]:
    """The tensors of G or D of a recorded case by their official names, but for the constant filters."""
    shapes = json.loads((DATA / f"{name}.json").read_text())[letter]
    return {
        key: torch.as_tensor(fill(f"{letter}.{key}", tuple(shape)))
        for key, shape in shapes.items()
        if not key.endswith("resample_filter")
    }
