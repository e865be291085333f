"""How similar two images are."""

import torch
from torch import Tensor


def psnr(pixels: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of uint8 pixels [N, ...], in dB: 10 log10(255^2 / MSE), [N]; inf for equal ones."""
    mse = (pixels.double() - others.double()).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(255**2 / mse)
