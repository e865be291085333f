"""Other colours (Karras et al. 2020, ADA, appendix B, figure 17, lines 54 to 71).

Brightness b, contrast c, a mirror f = -1 or 1 of luma, hue theta and saturation s all act either along the axis of grey
or around it. Made in this order, they are, with the projection V on that axis and the cross product K with it,

    f c (V x + b) + c s (cos(theta) (1 - V) x + sin(theta) K x).
"""

from math import pi, sqrt

import torch
from torch import Tensor

from training.augment.chances import Chances

BRIGHTNESS = 0.2  # standard deviation, of colours in [-1, 1]
CONTRAST = 0.5  # standard deviation of the binary logarithm
SATURATION = 1.0  # likewise


def recolor(images: Tensor, names: frozenset[str], chances: Chances, p: Tensor) -> Tensor:
    """Makes each change of colours in `names` with probability p.

    Grey images [N, 1, H, W] are on the axis and stay on it: brightness, contrast and the mirror of luma change them. Of
    images with alpha, [N, 4, H, W], alpha stays as it is.
    """

    def drawn(name: str, values: Tensor) -> Tensor:
        occurs = chances.occurs(name, p) if name in names else torch.zeros_like(values, dtype=torch.bool)
        return torch.where(occurs, values, 0.0)[:, None, None, None]

    b = drawn("brightness", chances.normal("brightness")) * BRIGHTNESS  # [N, 1, 1, 1], and so on
    c = torch.exp2(drawn("contrast", chances.normal("contrast")) * CONTRAST)
    f = 1 - 2 * drawn("lumaflip", (chances.uniform("lumaflip") * 2).floor())
    theta = drawn("hue", chances.uniform("hue") * 2 - 1) * pi
    s = torch.exp2(drawn("saturation", chances.normal("saturation")) * SATURATION)

    x = images[:, :3]
    luma = x.mean(dim=1, keepdim=True)  # V x
    turned = (x.roll(1, 1) - x.roll(-1, 1)) / sqrt(3)  # K x
    colored = f * c * (luma + b) + c * s * (theta.cos() * (x - luma) + theta.sin() * turned)
    return torch.cat([colored, images[:, 3:]], dim=1) if images.shape[1] > 3 else colored
