"""Reads numbers that were recorded from published programs, and compares ours with them.

`PARITY_FOLDER=DIR` names another folder of the same files.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(os.environ.get("PARITY_FOLDER", Path(__file__).parent / "data"))


class Recorded:
    """One `.npz` and the `.json` beside it."""

    def __init__(self, name: str) -> None:
        self.about: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        with np.load(FOLDER / f"{name}.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays}

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, float32 values."""
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape).astype(np.float32)).to(dtype)


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of a tensor of a checkpoint, prefixed by its network: "dit.blocks.0.mlp.fc1.weight"."""
    x = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape).astype(np.float32)
    if name.endswith(("positional_embedding", "embedding_table.weight", "label_emb.weight")):
        return x * np.float32(0.5)
    if name.endswith("bias"):
        return x * np.float32(0.1)
    if len(shape) == 1:  # weight of a norm
        return 1 + np.float32(0.1) * x
    gain = 2 if name.split(".")[0] in ("vgg", "decoder") else 1
    return x * np.float32((gain / int(np.prod(shape[1:]))) ** 0.5)


def filled(network: nn.Module, prefix: str, names: dict[str, str] | None = None) -> nn.Module:
    """The network with weights by formula; `names` gives the published name of ours. Position tables stay."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "pos_embed" not in name:
                published = (names or {}).get(name, name)
                tensor.copy_(torch.from_numpy(fill(f"{prefix}.{published}", tuple(tensor.shape))))
    return network


def probe(value: Tensor, count: int = 16) -> Tensor:
    """[norm, sum, `count` values spread over the array], float64."""
    flat = value.detach().double().reshape(-1)
    return torch.cat([flat.norm()[None], flat.sum()[None], flat[(torch.arange(count) * 7919) % flat.numel()]])


def error(ours: Tensor, recorded: Tensor) -> float:
    """The largest difference, relative to the largest recorded value."""
    ours, recorded = torch.as_tensor(ours).detach().double(), recorded.double()
    assert ours.shape == recorded.shape, f"ours is {list(ours.shape)}, recorded is {list(recorded.shape)}"
    if not recorded.numel():
        return 0.0
    return float((ours - recorded).abs().max() / recorded.abs().max().clamp(min=1e-30))


def digest_error(ours: Tensor, recorded: Tensor) -> float:
    """The same of a digest of `probe`: norm, sum and values each by themselves."""
    ours, recorded = ours.double(), recorded.double()
    differences = (ours - recorded).abs()
    norm, total = recorded[0].abs(), recorded[:2].abs().max()
    values = differences[2:].max() / recorded[2:].abs().max().clamp(min=1e-30)
    return float(torch.stack([differences[0] / norm, differences[1] / total, values]).max())
