"""Files of latents: NumPy archives whose array `w` is a w for every layer, as `project.py` writes them.

The key and the shape are those of the official projector, so files work in both programs. Noise that was fitted with w
is stored as `noise0`, `noise1`, ... by layer. A `.npy` file of the same array is read, too. Reading runs no code.
Letters: N number of latents, L number of w, D width of w.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.generator import Generator, StyledGenerator
from system.files import replacing
from system.untrusted import load_arrays, mistaken

KEY, NOISE = "w", "noise"
MOST_UNPACKED = 2**27  # bytes of a packed file: 3,600 latents of a network of 1024 x 1024
_REMEDY = "give a projected-w.npz of project.py"


class Latents(NamedTuple):
    """The contents of a file: w [N, L, D], and the fitted noise of each layer [N, 1, H, W] or None."""

    ws: Tensor
    maps: list[Tensor] | None

    @property
    def noises(self) -> list[tuple[Tensor, ...]] | None:
        """The noise of each latent: [1, H, W] for each layer."""
        return None if self.maps is None else list(zip(*self.maps, strict=True))


def save_ws(path: Path, ws: Tensor, maps: Sequence[Tensor] | None = None) -> None:
    """Write w [N, L, D] and maps of noise, if any, as float32, atomically."""
    named = {KEY: ws} | {f"{NOISE}{k}": noise for k, noise in enumerate(maps or [])}
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: tensor.detach().float().cpu().numpy() for name, tensor in named.items()}
        np.savez(file, **arrays)


def load_latents(path: Path, G: StyledGenerator) -> Latents:
    """The latents of a file for this network, on its device.

    Args:
        path: .npz with an array `w`, or .npy; floating-point numbers [N, L, D], [L, D], or [N, D] with one w for all
            layers.
        G: the network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such archive, or its arrays do not fit this network.
    """
    arrays = _read(path)
    device = G.mapping.w_average.device
    ws = _ws(path, arrays[KEY], G.config.num_ws, G.config.w_dim).to(device)
    if not any(name.startswith(NOISE) for name in arrays):
        return Latents(ws, None)
    if not isinstance(G, Generator):
        raise ValueError(f"{path} holds noise of a StyleGAN2's layers: give the network that it was projected with")
    shapes = [[len(ws), 1, *layer.noise.fixed.shape] for layer in G.synthesis.layers]
    return Latents(ws, [_map(path, arrays, k, shape).to(device) for k, shape in enumerate(shapes)])


def _read(path: Path) -> dict[str, Tensor]:
    """The floating-point arrays of latents and noise."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give a projected-w.npz that project.py wrote")
    try:
        arrays = load_arrays(path, lambda name: name == KEY or name.startswith(NOISE), MOST_UNPACKED)
    except ValueError as error:
        what = mistaken(path) or "not a NumPy file of latents (.npz or .npy)"
        raise ValueError(f"{path} is {what}: {_REMEDY}") from error
    with np.errstate(over="ignore"):  # to infinity, which is refused
        found = {name or KEY: array.astype(np.float32) for name, array in arrays.items() if array.dtype.kind == "f"}
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path} holds a {name} that is infinite or not a number: project the picture anew")
    if KEY not in found:
        raise ValueError(f"{path} has no floating-point numbers under the key {KEY!r}: {_REMEDY}")
    return {name: torch.from_numpy(array) for name, array in found.items()}


def _ws(path: Path, found: Tensor, L: int, D: int) -> Tensor:
    ws = found[None] if found.shape == (L, D) else found
    if ws.ndim == 2 and ws.shape[1] == D:
        ws = ws[:, None].expand(-1, L, -1)
    if ws.ndim != 3 or ws.shape[1:] != (L, D) or not len(ws):
        raise ValueError(f"{path} holds w of the shape {list(found.shape)}, and this network takes [N, {L}, {D}]")
    return ws


def _map(path: Path, arrays: dict[str, Tensor], k: int, shape: list[int]) -> Tensor:
    found = arrays.get(f"{NOISE}{k}")
    if found is None or list(found.shape) != shape:
        held = "none" if found is None else f"one of the shape {list(found.shape)}"
        raise ValueError(
            f"{path} holds {held} as {NOISE}{k}, and with its w this network takes {shape}: "
            f"give the network that it was projected with"
        )
    return found
