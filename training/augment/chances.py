"""Which augmentations, with which random numbers, and how often: always alike, or adaptive (ADA, section 3)."""

import torch
from torch import Tensor, nn

from torch_utils import distributed
from training.augment.config import CATEGORIES, AugmentConfig
from training.recipe import Draws

# Every number has a name. All are drawn every time, so no number depends on which augmentations are on.
BANDS = ("filter 0", "filter 1", "filter 2", "filter 3")
TRANSFORMATIONS = (
    *("xflip", "rotate90", "xint", "scale", "rotate", "rotate after", "aniso", "xfrac"),
    *(*CATEGORIES["color"], *BANDS, "noise", "cutout"),
)
UNIFORM = ("xflip", "rotate90", "xint x", "xint y", "rotate", "rotate after", "lumaflip", "hue", "cutout x", "cutout y")
NORMAL = ("scale", "aniso", "xfrac x", "xfrac y", "brightness", "contrast", "saturation", *BANDS, "noise")


class Drawn:
    """Random numbers of the images of one part; `purpose` ("real", "fake") tells kinds of images in a phase apart."""

    def __init__(self, draws: Draws, purpose: str) -> None:
        self._draws, self._purpose = draws, f"augmented {purpose}"
        gates = len(TRANSFORMATIONS)
        uniform = draws.uniforms(self._purpose, gates + len(UNIFORM)).unbind(1)
        self._gates = dict(zip(TRANSFORMATIONS, uniform[:gates], strict=True))
        # A number in [0, 1), or a standard normal number, for each image, [N], by a name of UNIFORM or NORMAL.
        self.uniform = dict(zip(UNIFORM, uniform[gates:], strict=True)).__getitem__
        normal = draws.latents(f"{self._purpose} normal", len(NORMAL)).unbind(1)
        self.normal = dict(zip(NORMAL, normal, strict=True)).__getitem__

    def grain(self, shape: torch.Size) -> Tensor:
        """A standard normal number for each pixel. `shape` is that of the images, [N, C, H, W]."""
        return self._draws.normal(f"{self._purpose} grain", shape)

    def where(self, transformation: str, p: Tensor, values: Tensor) -> Tensor:
        """The values [N] of images that get a transformation, with probability p; 0 for the others."""
        return torch.where(self._gates[transformation] < p, values, 0.0)


class Strength(nn.Module):
    """The probability p of augmentations, on the device; changed in place, because a CUDA graph reads its memory.

    With `ada`, p steps up every few iterations if r_t, the mean sign of D's scores of reals since the last step, is
    over the target, and down if below (section 3.1, equation 1): in `ada_kimg` thousand images from 0 to 1 at most.
    """

    def __init__(self, config: AugmentConfig, batch: int, device: torch.device) -> None:
        super().__init__()
        self.config, self.batch = config, batch
        self.p = nn.Buffer(torch.full([], config.p, device=device))
        self.signs = nn.Buffer(torch.zeros(2, device=device))  # sum and number, since the last step, of all processes
        self.new = torch.zeros(2, device=device)  # in this iteration, of this process

    def observe(self, scores: Tensor) -> None:
        """Count the signs of D's scores of real images, any shape; of pairs, of real - fake."""
        if self.config.mode == "ada":
            signs = (scores > 0).float() - (scores < 0).float()  # 0 for nan, so p never becomes nan
            self.new += torch.stack([signs.sum(), torch.ones_like(signs).sum()])

    def adjust(self, seen: int) -> None:
        """End an iteration. `seen` counts the images before it."""
        if self.config.mode != "ada":
            return
        # Exchanged in every iteration, so that rank 0 has all signs when it saves a state.
        self.signs.add_(distributed.sum_(self.new))
        self.new.zero_()
        if (seen // self.batch + 1) % self.config.interval == 0:
            total, count = self.signs.unbind()
            step = self.batch * self.config.interval / (self.config.ada_kimg * 1000)
            self.p.copy_((self.p + (total - self.config.target * count).sign() * step).clamp(0, 1))
            self.signs.zero_()
