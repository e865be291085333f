"""Files of latents: NumPy archives whose array `w` is a w for every layer, as `project.py` writes them.

The key and the shape are those of the official projector, so files go both ways. Where the noise was fitted with the
w, its maps are there too, as `noise0`, `noise1`, ... by layer. Reading one runs no code. Letters: N number of latents,
L number of w, D width of w.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.generator import Generator
from models.stylegan2.sampling import Samplable
from system.files import replacing

KEY, NOISE = "w", "noise"


class Latents(NamedTuple):
    """What a file holds: w [N, L, D], and where it was fitted the noise of each layer [N, 1, H, W]."""

    ws: Tensor
    maps: list[Tensor] | None

    @property
    def noises(self) -> list[tuple[Tensor, ...]] | None:
        """The noise of each latent: [1, H, W] for each layer."""
        return None if self.maps is None else list(zip(*self.maps, strict=True))


def save_ws(path: Path, ws: Tensor, maps: Sequence[Tensor] | None = None) -> None:
    """Writes w [N, L, D] and, if there are any, maps of noise as float32; the file appears whole or not at all."""
    named = {KEY: ws} | {f"{NOISE}{k}": noise for k, noise in enumerate(maps or [])}
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: tensor.detach().float().cpu().numpy() for name, tensor in named.items()}
        np.savez(file, **arrays)


def load_latents(path: Path, G: Samplable) -> Latents:
    """The latents of a file for this network, on its device; a single w [N, D] serves every layer.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not such an archive, or what it holds is not this network's.
    """
    arrays = _read(path)
    device = G.mapping.w_average.device
    ws = _ws(path, arrays, G.config.num_ws, G.config.w_dim).to(device)
    if not any(name.startswith(NOISE) for name in arrays):
        return Latents(ws, None)
    if not isinstance(G, Generator):
        raise ValueError(f"{path} holds noise of a StyleGAN2's layers: give the network that it was projected with")
    shapes = [[len(ws), 1, *layer.noise.fixed.shape] for layer in G.synthesis.layers]
    return Latents(ws, [_map(path, arrays, k, shape).to(device) for k, shape in enumerate(shapes)])


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of floating-point numbers that are latents or noise."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give a projected-w.npz that project.py wrote")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [name for name in archive.files if name == KEY or name.startswith(NOISE)]
            arrays = {name: np.asarray(archive[name]) for name in names}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a NumPy archive of latents: give a projected-w.npz of project.py") from error
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


def _ws(path: Path, arrays: dict[str, np.ndarray], L: int, D: int) -> Tensor:
    if KEY not in arrays:
        raise ValueError(f"{path} has no numbers under the key {KEY!r}: give a projected-w.npz of project.py")
    found = arrays[KEY]
    ws = torch.from_numpy(found.astype(np.float32))
    ws = ws[None] if ws.shape == (L, D) else ws
    if ws.ndim == 2 and ws.shape[1] == D:
        ws = ws[:, None].expand(-1, L, -1)
    if ws.ndim != 3 or ws.shape[1:] != (L, D) or not len(ws):
        raise ValueError(f"{path} holds w of the shape {list(found.shape)}, and this network takes [N, {L}, {D}]")
    if not bool(ws.isfinite().all()):
        raise ValueError(f"{path} holds latents that are infinite or not numbers: project the picture anew")
    return ws


def _map(path: Path, arrays: dict[str, np.ndarray], k: int, shape: list[int]) -> Tensor:
    found = arrays.get(f"{NOISE}{k}")
    if found is None or list(found.shape) != shape:
        held = "none" if found is None else f"one of the shape {list(found.shape)}"
        raise ValueError(
            f"{path} holds {held} as {NOISE}{k}, and with its w this network takes {shape}: "
            f"give the network that it was projected with"
        )
    noise = torch.from_numpy(found.astype(np.float32))
    if not bool(noise.isfinite().all()):
        raise ValueError(f"{path} holds noise that is infinite or not a number: project the picture anew")
    return noise
