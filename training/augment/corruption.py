"""Noise on top, and a part cut out (Karras et al. 2020, ADA, appendix B, figure 17, lines 95 to 109)."""

import torch
from torch import Tensor

from training.augment.chances import Chances

NOISE = 0.1  # standard deviation of the noise's own standard deviation, before its sign is taken off
CUTOUT = 0.5  # side of the part cut out, as a share of the image's


def add_noise(images: Tensor, chances: Chances, p: Tensor) -> Tensor:
    """Normal noise, of another strength in each image, on its colours; an alpha channel, the fourth, gets none."""
    strength = torch.where(chances.occurs("noise", p), chances.normal("noise").abs() * NOISE, 0.0)
    colors = images[:, :3]
    noisy = colors + chances.grain(colors.shape) * strength[:, None, None, None]
    return torch.cat([noisy, images[:, 3:]], dim=1) if images.shape[1] > 3 else noisy


def cut_out(images: Tensor, chances: Chances, p: Tensor) -> Tensor:
    """A rectangle of half the height and width with its middle anywhere becomes 0, in all channels."""
    H, W = images.shape[2:]
    size = torch.where(chances.occurs("cutout", p), CUTOUT, 0.0)[:, None]  # [N, 1]
    within = []
    for axis, side in (("x", W), ("y", H)):
        middles = (torch.arange(side, device=images.device) + 0.5) / side
        within.append((middles - chances.uniform(f"cutout {axis}")[:, None]).abs() < size / 2)  # [N, side]
    out = within[1][:, :, None] & within[0][:, None, :]  # [N, H, W]
    return torch.where(out[:, None], 0.0, images)
