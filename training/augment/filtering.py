"""Filters of frequency bands (Karras et al. 2020, ADA, appendix B, figure 17, lines 72 to 94)."""

import numpy as np
import torch
from torch import Tensor

from custom_ops.convolution import convolve
from training.augment.chances import Drawn
from training.augment.wavelets import SYM2, mirrored

BANDS = 4  # up to 1/8 of the highest frequency, 1/8 to 1/4, 1/4 to 1/2, and above
GAIN = 1.0  # standard deviation of the binary logarithm
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # share of each band in the power of natural images, by the paper


def bandpass() -> np.ndarray:
    """Symmetric filters of the bands, [BANDS, taps], whose sum is the identity.

    The autocorrelations L and H of an orthogonal low-pass and its high-pass, halved, pass the lower and the upper half
    of the frequencies, and L + H = 1. Each round moves the present bands b one octave down,
    to L(z) b(z^2), and adds H(z) above them as the new highest band; their sum stays 1.
    """
    low = np.array(SYM2)
    high = low * [1, -1, 1, -1]
    L, H = (np.convolve(h, h[::-1]) / 2 for h in (low, high))
    bank = np.ones([1, 1])
    for _ in range(BANDS - 1):
        spread = np.zeros([len(bank), 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        lower = np.stack([np.convolve(band, L) for band in spread])
        margin = (lower.shape[1] - len(H)) // 2
        bank = np.concatenate([lower, np.pad(H, margin)[None]])
    return bank


class Filtering:
    """Amplifies or weakens each frequency band with probability p, in both directions alike."""

    def __init__(self, device: torch.device) -> None:
        self.bank = torch.tensor(bandpass(), dtype=torch.float32).to(device)  # [BANDS, taps]
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
        """The gain of each band, [N, BANDS]. Changing a band does not change the expected power of the whole."""
        names = [f"filter {band}" for band in range(BANDS)]
        t = torch.stack([chances.where(name, p, chances.normal(name)) for name in names], dim=1)
        t = torch.exp2(t * GAIN)  # [N, BANDS]
        power = (t.square() - 1) * self.power + 1  # of the whole, if this band alone has changed
        return t * power.rsqrt().prod(dim=1, keepdim=True)
