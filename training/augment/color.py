"""Colors, filters, noise and cutout (Karras et al. 2020, ADA, appendix B, figure 17, lines 54 to 109)."""

from math import pi, sqrt

import numpy as np
import torch
from torch import Tensor

from custom_ops.convolution import convolve
from training.augment.chances import BANDS, Drawn
from training.augment.geometry import mirrored

BRIGHTNESS = 0.2  # standard deviation; colors are in [-1, 1]
CONTRAST = 0.5  # standard deviation of the binary logarithm
SATURATION = 1.0  # likewise
NOISE = 0.1  # standard deviation of the signed strength of the noise
# Orthogonal low-pass filter (Daubechies 1992, table 6.1). Its taps sum to sqrt(2).
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
# BANDS: up to 1/8 of the highest frequency, 1/8 to 1/4, 1/4 to 1/2, and above
GAIN = 1.0  # standard deviation of the binary logarithm
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # share of each band in the power of natural images, by the paper
CUTOUT = 0.5  # side of the rectangle, as a share of the image's side


def recolor(images: Tensor, names: frozenset[str], chances: Drawn, p: Tensor) -> Tensor:
    """Make each change of colors in `names` with probability p; alpha, and of gray images hue and saturation, stay.

    Brightness b, contrast c, luma flip f (-1 or 1), hue theta and saturation s act along the gray axis or around it:
    f c (V x + b) + c s (cos(theta) (1 - V) x + sin(theta) K x), V the projection on that axis, K the cross product.
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


def bandpass() -> np.ndarray:
    """Symmetric filters of the bands, [4, taps], whose sum is the identity.

    The autocorrelations L and H of an orthogonal low-pass and its high-pass, halved, sum to 1. Each round moves the
    present bands b one octave down, to L(z) b(z^2), and adds H(z) as the new highest band; their sum stays 1.
    """
    low = np.array(SYM2)
    high = low * [1, -1, 1, -1]
    L, H = (np.convolve(h, h[::-1]) / 2 for h in (low, high))
    bank = np.ones([1, 1])
    for _ in BANDS[1:]:
        spread = np.zeros([len(bank), 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        lower = np.stack([np.convolve(band, L) for band in spread])
        margin = (lower.shape[1] - len(H)) // 2
        bank = np.concatenate([lower, np.pad(H, margin)[None]])
    return bank


class Filtering:
    """Amplifies or weakens each frequency band with probability p, in both directions alike."""

    def __init__(self, device: torch.device) -> None:
        self.bank = torch.tensor(bandpass(), dtype=torch.float32).to(device)  # [4, taps]
        self.power = torch.tensor(POWER).to(device)

    def __call__(self, images: Tensor, chances: Drawn, p: Tensor) -> Tensor:
        """Filter images [N, C, H, W], mirrored at their edges; all channels alike."""
        N, C, H, W = images.shape
        taps = (self.gains(chances, p)[:, :, None] * self.bank).sum(dim=1)  # [N, taps]
        margin = taps.shape[1] // 2
        f = taps[:, None].expand(-1, C, -1).reshape(N * C, 1, 1, -1)
        x = mirrored(mirrored(images, 2, -margin, H + margin), 3, -margin, W + margin)
        x = x.reshape(1, N * C, *x.shape[2:])
        x = convolve(convolve(x, f, groups=N * C), f.mT, groups=N * C)
        return x.reshape(N, C, H, W)

    def gains(self, chances: Drawn, p: Tensor) -> Tensor:
        """The gain of each band, [N, 4]. Changing a band does not change the expected power of the whole."""
        t = torch.stack([chances.where(name, p, chances.normal(name)) for name in BANDS], dim=1)
        t = torch.exp2(t * GAIN)  # [N, 4]
        power = (t.square() - 1) * self.power + 1  # of the whole, if this band alone has changed
        return t * power.rsqrt().prod(dim=1, keepdim=True)
