"""The way of a latent: seed -> z -> w -> one w for every layer; truncation, mixing and interpolation on it."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def seeds_to_z(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Latents of seeds, [N, z_dim] float32: row n is numpy's RandomState(seed).randn(1, z_dim).

    That is the rule of the official code, so a seed published with a network gives the picture it is known for.
    """
    rows = [np.random.RandomState(seed).randn(1, z_dim) for seed in seeds]
    return torch.from_numpy(np.concatenate(rows) if rows else np.zeros([0, z_dim])).float()


def truncate(ws: Tensor, w_average: Tensor, psi: float | Tensor, cutoff: int | None = None) -> Tensor:
    """Pulls w towards its average: w' = average + psi * (w - average) (Karras et al. 2019, section B).

    Args:
        ws: [N, L, D].
        w_average: [D], or for each w one of its own, [N, 1, D].
        psi: 1 changes nothing, 0 gives the average, negative values its opposite. A tensor [] where it is an input of a
            graph.
        cutoff: how many of the first w are truncated; None means all.
    """
    if cutoff == 0 or (not isinstance(psi, Tensor) and psi == 1):
        return ws
    count = ws.shape[1] if cutoff is None else cutoff
    head = w_average.to(ws.dtype).lerp(ws[:, :count], psi)
    return head if count >= ws.shape[1] else torch.cat([head, ws[:, count:]], dim=1)


def mix(ws_rows: Tensor, ws_cols: Tensor, layers: Sequence[int]) -> Tensor:
    """Style mixing (Karras et al. 2019, section 3.1): the row's w with those of the column in the given layers.

    Args:
        ws_rows, ws_cols: [N, L, D].
        layers: which of the L layers come from the column.
    """
    mixed = ws_rows.clone()
    mixed[:, list(layers)] = ws_cols[:, list(layers)]
    return mixed


def layer_range(name: str, num_ws: int, option: str = "layers") -> list[int]:
    """The layers that a word or a range names; errors name the `option` that it was given for.

    `coarse` are the layers of the first two resolutions (pose, shape), `middle` of the next two (features), `fine` the
    rest (colors) (Karras et al. 2019, section 3.1); `0-6` and `0,2,5-7` count layers from 0.

    Raises:
        ValueError: for words that mean nothing or layers that the network does not have.
    """
    # The first resolution has one convolution, each further one has two; an RGB layer follows the next convolution's w.
    words = {"coarse": range(3), "middle": range(3, 7), "fine": range(7, num_ws)}
    if name.lower() in words:
        layers = [i for i in words[name.lower()] if i < num_ws]
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
