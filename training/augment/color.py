"""Colors, noise and cutout (Karras et al. 2020, ADA, appendix B, figure 17, lines 54 to 71 and 95 to 109)."""

from math import pi, sqrt

import torch
from torch import Tensor

from training.augment.chances import Drawn

BRIGHTNESS = 0.2  # standard deviation; colors are in [-1, 1]
CONTRAST = 0.5  # standard deviation of the binary logarithm
SATURATION = 1.0  # likewise
NOISE = 0.1  # standard deviation of the signed strength of the noise
CUTOUT = 0.5  # side of the rectangle, as a share of the image's side


def recolor(images: Tensor, names: frozenset[str], chances: Drawn, p: Tensor) -> Tensor:
    """Make each change of colors in `names` with probability p.

    Brightness b, contrast c, luma flip f (-1 or 1), hue theta and saturation s act along the gray axis or around it. In
    this order, with the projection V on that axis and the cross product K with it, they are

        f c (V x + b) + c s (cos(theta) (1 - V) x + sin(theta) K x).

    Gray images [N, 1, H, W] stay gray: only b, c and f change them. The alpha channel of [N, 4, H, W] is unchanged.
    """

    def drawn(name: str, values: Tensor) -> Tensor:
        chosen = chances.where(name, p, values) if name in names else torch.zeros_like(values)
        return chosen[:, None, None, None]

    b = drawn("brightness", chances.normal("brightness")) * BRIGHTNESS  # [N, 1, 1, 1], as all below
    c = torch.exp2(drawn("contrast", chances.normal("contrast")) * CONTRAST)
    f = 1 - 2 * drawn("lumaflip", (chances.uniform("lumaflip") * 2).floor())
    theta = drawn("hue", chances.uniform("hue") * 2 - 1) * pi
    s = torch.exp2(drawn("saturation", chances.normal("saturation")) * SATURATION)

    x = images[:, :3]
    luma = x.mean(dim=1, keepdim=True)  # V x
    turned = (x.roll(1, 1) - x.roll(-1, 1)) / sqrt(3)  # K x
    colored = f * c * (luma + b) + c * s * (theta.cos() * (x - luma) + theta.sin() * turned)
    return _with_alpha(colored, images)


def add_noise(images: Tensor, chances: Drawn, p: Tensor) -> Tensor:
    """Add normal noise to the colors, with probability p and a random strength for each image."""
    strength = chances.where("noise", p, chances.normal("noise").abs() * NOISE)
    colors = images[:, :3]
    return _with_alpha(colors + chances.grain(colors.shape) * strength[:, None, None, None], images)


def cut_out(images: Tensor, chances: Drawn, p: Tensor) -> Tensor:
    """Set a rectangle of half the height and width, centered anywhere, to 0 in all channels, with probability p."""
    within = []
    for axis, side in (("y", images.shape[2]), ("x", images.shape[3])):
        center = chances.uniform(f"cutout {axis}")[:, None]
        size = chances.where("cutout", p, torch.full_like(center[:, 0], CUTOUT))[:, None]
        places = (torch.arange(side, device=images.device) + 0.5) / side
        within.append((places - center).abs() < size / 2)  # [N, side]
    out = within[0][:, :, None] & within[1][:, None, :]  # [N, H, W]
    return torch.where(out[:, None], 0.0, images)


def _with_alpha(colors: Tensor, images: Tensor) -> Tensor:
    return torch.cat([colors, images[:, 3:]], dim=1) if images.shape[1] > 3 else colors
