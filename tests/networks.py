"""Networks so small that a test makes pictures with them in no time."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.adm.config import ClassifierConfig, UNetConfig
from models.adm.network import NoisyClassifier, UNet
from models.dit.config import DiTConfig
from models.dit.network import DiT
from models.families import save_network
from models.sampler import Request, SeedStream
from models.stylegan2.choices import StyleOptions
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator, StyledGenerator
from models.stylegan2.sampler import StyleSampler

SIZES: dict[str, Any] = {"height": 16, "width": 16, "channel_base": 256, "channel_max": 16, "mapping_layers": 1}

ON_CPU = ["--device", "cpu"]  # where a picture is the same to the last byte in any company


def tiny_generator(**settings: Any) -> Generator:
    """A generator of random weights, always the same ones, that makes use of noise and of an average w."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G = Generator(GeneratorConfig(**SIZES | {"z_dim": 8, "w_dim": 8} | settings))
        G.mapping.w_average.normal_().mul_(0.3)
        for name, parameter in G.named_parameters():
            if name.endswith("noise.strength"):
                torch.nn.init.constant_(parameter, 0.2)
            elif name.endswith("rgb.conv.weight"):
                parameter.data.mul_(0.3)  # images within [-1, 1], for the most part
    return G.requires_grad_(False).eval()


def tiny_discriminator(**settings: Any) -> Discriminator:
    """A discriminator that fits `tiny_generator`."""
    return Discriminator(DiscriminatorConfig(**SIZES | settings)).requires_grad_(False).eval()


def requests(seeds: Sequence[int], classes: Sequence[int] | None = None) -> list[Request]:
    """What a StyleSampler is asked for: seeds, each of its class."""
    labels: Sequence[int | None] = classes or [None] * len(seeds)
    return [Request(f"seed{seed:04d}", label, SeedStream(seed)) for seed, label in zip(seeds, labels, strict=True)]


def ws_of(G: StyledGenerator, seeds: Sequence[int], classes: Sequence[int] | None = None, psi: float = 1) -> Tensor:
    """The truncated w of seeds, [N, L, D]."""
    return StyleSampler(G).ws(requests(seeds, classes), psi)


def pictures_of(
    G: StyledGenerator,
    seeds: Sequence[int],
    classes: Sequence[int] | None = None,
    at_once: int = 1,
    ws: Iterable[Tensor] | None = None,
    **options: Any,
) -> list[Tensor]:
    """The pictures of seeds, uint8 [C, H, W] each; of `ws`, if they are given, with the seeds' noise."""
    sampler, asked = StyleSampler(G, StyleOptions(**options)), requests(seeds, classes)
    return list(sampler.sample(asked, at_once) if ws is None else sampler.pictures(ws, asked, at_once))


def save_tiny(path: Path, class_names: tuple[str, ...] = (), **settings: Any) -> Path:
    """A network file that holds a tiny generator as G_ema, and says that its training saw 1500 images."""
    facts = {"kimg": 1.5, "data": {"class_names": class_names}}
    save_network(path, "stylegan2", {"G_ema": tiny_generator(**settings)}, facts)
    return path


TRUNK: dict[str, Any] = {"model_channels": 8, "mult": (1, 2), "res_blocks": 1, "groups": 4, "attention": (2,)}
NOISY: dict[str, tuple[str, str, Any, Any, dict[str, Any]]] = {  # model: part, its configuration, class, smallest sizes
    "dit": ("ema", "dit", DiTConfig, DiT, {"patch": 4, "hidden": 16, "depth": 1, "heads": 2}),
    "adm": ("ema", "adm", UNetConfig, UNet, TRUNK),
    "classifier": ("ema", "noise-classifier", ClassifierConfig, NoisyClassifier, TRUNK),
}


def save_noisy(path: Path, model: str = "dit", seed: int = 0, class_names: tuple[str, ...] = (), **more: Any) -> Path:
    """A network file of a tiny denoiser ("dit", "adm") or "classifier" of random weights; `more` are its settings."""
    part, family, config, build, sizes = NOISY[model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(config.model_validate({"height": 16, "width": 16} | sizes | more))
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(std=0.3 if model == "classifier" else 0.15)
    save_network(path, family, {part: network.eval()}, {"kimg": 1.5, "data": {"class_names": class_names}})
    return path
