"""Which augmentations, and how often: the settings."""

from typing import Literal

from pydantic import Field, model_validator

from torch_utils.config import flag
from training.config import Section

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
