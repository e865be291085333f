"""Which augmentations, with which random numbers, and how often: always alike, or adaptive (ADA, section 3)."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from torch_utils import distributed
from torch_utils.config import flag
from training.config import Section
from training.recipe import Draws

Pipe = Literal["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
}
GROUP = "Augmentation"
MODES = "what D sees is augmented: ada as far as D overfits, fixed with probability --p, none never"
PIPES = "kinds of augmentation: pixel blitting, geometry, color, filters, noise, cutout; or several by first letters"
START = "probability of each augmentation; with ada, at the start"
TARGET = "with ada: mean sign of D's scores of real images above which augmentation increases"
SPEED = "with ada: thousands of images in which p can go from 0 to 1; 100 with --transfer"

# Every number has a name. All are drawn every time, so no number depends on which augmentations are on.
BANDS = ("filter 0", "filter 1", "filter 2", "filter 3")
TRANSFORMATIONS = (
    *("xflip", "rotate90", "xint", "scale", "rotate", "rotate after", "aniso", "xfrac"),
    *(*CATEGORIES["color"], *BANDS, "noise", "cutout"),
)
UNIFORM = ("xflip", "rotate90", "xint x", "xint y", "rotate", "rotate after", "lumaflip", "hue", "cutout x", "cutout y")
NORMAL = ("scale", "aniso", "xfrac x", "xfrac y", "brightness", "contrast", "saturation", *BANDS, "noise")


class AugmentConfig(Section):
    """Augmentation of the images that the discriminator sees."""

    mode: Literal["ada", "fixed", "none"] = flag("none", "--aug", GROUP, MODES, by_preset=True)
    pipe: Pipe = flag("bgc", "--augpipe", GROUP, PIPES)
    p: float = flag(0.0, "--p", GROUP, START, ge=0, le=1)
    target: float = flag(0.6, "--target", GROUP, TARGET, ge=-1, le=1)
    ada_kimg: float = flag(500.0, "--ada-kimg", GROUP, SPEED, gt=0)
    interval: int = Field(4, ge=1, description="with ada: iterations between changes of p")

    @model_validator(mode="after")
    def _does_something(self) -> "AugmentConfig":
        if self.mode == "fixed" and not self.p:
            raise ValueError("--aug fixed with --p 0 augments nothing: give a --p above 0, or --aug none")
        return self

    @property
    def idle(self) -> tuple[str, ...]:
        """Settings that have no effect in this mode."""
        of_ada = ("target", "ada_kimg", "interval")
        return {"ada": (), "fixed": of_ada, "none": ("pipe", "p", *of_ada)}[self.mode]

    @property
    def transformations(self) -> frozenset[str]:
        """The names of all transformations of this pipe."""
        # bgcfnc is the categories in their order: the first c is color, the second cutout.
        categories = [self.pipe] if self.pipe in CATEGORIES else list(CATEGORIES)[: len(self.pipe)]
        return frozenset(name for category in categories for name in CATEGORIES[category])


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
