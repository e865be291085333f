"""Embeddings of time and place that the networks of diffusion models share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STD = 0.02  # of the weights of embeddings (Peebles and Xie 2023, section 3.2)
PERIOD = 10000.0  # the longest wave of an embedding


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Waves of a time: [cos(t f), sin(t f)] with f = 10000^(-i / half), and a 0 for odd widths, float32 [N, width].

    (Vaswani et al. 2017, section 3.5, in the order of the published diffusion networks.) Computed in float32 in this
    order: another order moves networks by 3e-6.

    Args:
        t: [N], in the published programs' units: 0 ... 999; fractions are allowed.
        width: of the result.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(PERIOD) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t[:, None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width % 2))


def positions(height: int, width: int, channels: int) -> Tensor:
    """Fixed embeddings of the places of a grid, float64 [height * width, channels], row by row.

    [waves of the column, waves of the row], each [sin, cos] with frequencies 10000^(-4 j / channels).

    Raises:
        ValueError: channels are no multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"positions need a multiple of 4 channels, not {channels}")
    quarter = channels // 4
    frequencies = PERIOD ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )
    waves = [(u.reshape(-1, 1) * frequencies) for u in (columns, rows)]
    return torch.cat([f(wave) for wave in waves for f in (torch.sin, torch.cos)], dim=1)


def class_numbers(c: Tensor | None, x: Tensor, classes: int, null_class: bool) -> Tensor:
    """The class numbers of pictures x [N, ...], int64 [N]: `c`, or where it is None `classes`, which means none.

    Raises ValueError if no classes are given for a network that has no row for none.
    """
    if c is not None:
        return c
    if not null_class:
        raise ValueError("this network makes pictures of a class only: give class numbers")
    return torch.full(x.shape[:1], classes, device=x.device)


class TimestepEmbedder(nn.Module):
    """The vector of a time: waves, then Linear, SiLU, Linear.

    Args:
        waves: width of the sinusoid.
        width: of the vector.
    """

    def __init__(self, waves: int, width: int) -> None:
        super().__init__()
        self.waves = waves
        first, last = nn.Linear(waves, width), nn.Linear(width, width)
        for layer in (first, last):
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)
        self.mlp = nn.Sequential(first, nn.SiLU(), last)

    def forward(self, t: Tensor) -> Tensor:
        """t [N] -> [N, width]."""
        return self.mlp(sinusoid(t, self.waves).to(next(self.mlp.parameters()).dtype))
