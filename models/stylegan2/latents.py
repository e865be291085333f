"""One w for every layer: style mixing, names of layers, and files of latents.

A file is a NumPy archive with an array `w`, as of the official projector, and `noise0`, `noise1`, ... by layer if noise
was fitted. A `.npy` file of w is read, too. Letters: N number of latents, L number of w, D width of w.
"""

import re
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
# The first resolution has one convolution, each further one has two; an RGB layer follows the next convolution's w.
GROUPS = {"coarse": (0, 3), "middle": (3, 7), "fine": (7, None)}  # name -> first layer, and the one after the last
_REMEDY = "give a projected-w.npz of project.py"


def mix(ws_rows: Tensor, ws_cols: Tensor, layers: Sequence[int], weight: float = 1.0) -> Tensor:
    """Style mixing (Karras et al. 2019, section 3.1): the row's w [N, L, D] with those of the column in `layers`.

    With another `weight` w = (1 - weight) * row + weight * column there.
    """
    mixed, of_column = ws_rows.clone(), ws_cols[:, list(layers)]
    mixed[:, list(layers)] = of_column if weight == 1 else mixed[:, list(layers)].lerp(of_column, weight)
    return mixed


def groups_of(num_ws: int) -> dict[str, list[int]]:
    """The layers of each group of a network, without groups that it has no layers of."""
    found = {name: [i for i in range(start, stop or num_ws) if i < num_ws] for name, (start, stop) in GROUPS.items()}
    return {name: layers for name, layers in found.items() if layers}


def layer_range(name: str, num_ws: int, option: str = "layers") -> list[int]:
    """The layers that a word or a range names; errors name the `option` that it was given for.

    `coarse` are the layers of the first two resolutions (pose, shape), `middle` of the next two (features), `fine` the
    rest (colors) (Karras et al. 2019, section 3.1); `0-6` and `0,2,5-7` count layers from 0.
    """
    if name.lower() in GROUPS:
        layers = groups_of(num_ws).get(name.lower(), [])
        if not layers:
            raise ValueError(f"{option}: a network with {num_ws} layers of w has no {name} layers")
        return layers
    layers = []
    for part in name.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        if not found or int(found[1]) > int(found[2] or found[1]):
            raise ValueError(f"{option}: got {name!r}, expected coarse, middle, fine or a list such as 0-6 or 0,2,5-7")
        layers += range(int(found[1]), int(found[2] or found[1]) + 1)
    if max(layers) >= num_ws:
        raise ValueError(f"{option}: got {name!r}, but this network has the layers 0-{num_ws - 1}")
    return sorted(set(layers))


class Latents(NamedTuple):
    """The contents of a file: w [N, L, D], and the fitted noise of each layer [N, 1, H, W] or None."""

    ws: Tensor
    maps: list[Tensor] | None


def save_ws(path: Path, ws: Tensor, maps: Sequence[Tensor] | None = None) -> None:
    """Write w [N, L, D] and maps of noise, if any, as float32, atomically."""
    named = {KEY: ws} | {f"{NOISE}{k}": noise for k, noise in enumerate(maps or [])}
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {name: tensor.detach().float().cpu().numpy() for name, tensor in named.items()}
        np.savez(file, **arrays)


def load_latents(path: Path, G: StyledGenerator) -> Latents:
    """The latents of a file for this network, on its device: w [N, L, D], [L, D], or [N, D] with one for all layers."""
    arrays, device = _read(path), G.mapping.w_average.device
    ws, L, D = arrays[KEY], G.config.num_ws, G.config.w_dim
    if ws.shape == (L, D):
        ws = ws[None]
    elif ws.ndim == 2 and ws.shape[1] == D:
        ws = ws[:, None].expand(-1, L, -1)
    if ws.ndim != 3 or ws.shape[1:] != (L, D) or not len(ws):
        raise ValueError(f"{path} holds w of the shape {list(arrays[KEY].shape)}, and this network takes [N, {L}, {D}]")
    if not any(name.startswith(NOISE) for name in arrays):
        return Latents(ws.to(device), None)
    if not isinstance(G, Generator):
        raise ValueError(f"{path} holds noise of a StyleGAN2's layers: give the network that it was projected with")
    maps = []
    for k, layer in enumerate(G.synthesis.layers):
        found, shape = arrays.get(f"{NOISE}{k}"), [len(ws), 1, *layer.noise.fixed.shape]
        if found is None or list(found.shape) != shape:
            held = "none" if found is None else f"one of the shape {list(found.shape)}"
            raise ValueError(
                f"{path} holds {held} as {NOISE}{k}, and with its w this network takes {shape}: "
                f"give the network that it was projected with"
            )
        maps.append(found.to(device))
    return Latents(ws.to(device), maps)


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
