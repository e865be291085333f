"""More or less of each band of frequencies (Karras et al. 2020, ADA, appendix B, figure 17, lines 72 to 94)."""

import numpy as np
import torch
from torch import Tensor

from custom_ops.convolution import convolve
from training.augment.chances import Chances
from training.augment.mirroring import mirrored
from training.augment.wavelets import SYM2

BANDS = 4  # up to 1/8 of the highest frequency, 1/8 to 1/4, 1/4 to 1/2, and above
GAIN = 1.0  # standard deviation of the binary logarithm
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images in each band, by the paper


def bandpass() -> np.ndarray:
    """Symmetric filters of the bands, [BANDS, taps], that add up to no filter at all.

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
    """Amplifies or weakens bands of frequencies, each with probability p, the same in both directions.

    Args:
        device: where the images are.
    """

    def __init__(self, device: torch.device) -> None:
        self.bank = torch.tensor(bandpass(), dtype=torch.float32).to(device)  # [BANDS, taps]
        self.power = torch.tensor(POWER).to(device)

    def __call__(self, images: Tensor, chances: Chances, p: Tensor) -> Tensor:
        """Images [N, C, H, W], mirrored at their edges; all channels alike."""
        N, C, H, W = images.shape
        taps = (self.gains(chances, p)[:, :, None] * self.bank).sum(dim=1)  # [N, taps]
        count = taps.shape[1]
        f = taps[:, None].expand(-1, C, -1).reshape(N * C, 1, 1, count)
        x = mirrored(mirrored(images, 2, -(count // 2), H + count // 2), 3, -(count // 2), W + count // 2)
        x = x.reshape(1, N * C, *x.shape[2:])
        x = convolve(convolve(x, f, groups=N * C), f.mT, groups=N * C)
        return x.reshape(N, C, H, W)

    def gains(self, chances: Chances, p: Tensor) -> Tensor:
        """The gain of each band, [N, BANDS]. A band's change leaves the expected power of the whole as it was."""
        names = [f"filter {band}" for band in range(BANDS)]
        t = torch.stack([torch.where(chances.occurs(name, p), chances.normal(name), 0.0) for name in names], dim=1)
        t = torch.exp2(t * GAIN)  # [N, BANDS]
        power = (t.square() - 1) * self.power + 1  # of the whole, when this band alone has changed
        return t * power.rsqrt().prod(dim=1, keepdim=True)
