"""Which augmentations, and how often."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Pipe = Literal["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
}


def _flag(name: str) -> dict[str, Any]:
    return {"flag": name, "group": "Augmentation"}


class AugmentConfig(BaseModel):
    """What is done to the images before the discriminator sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["ada", "fixed", "none"] = Field(
        "none",
        description="augment what D sees: ada as far as D overfits, fixed with the probability --p, none not at all",
        json_schema_extra=_flag("--aug") | {"by_preset": True},
    )
    pipe: Pipe = Field(
        "bgc",
        description="kinds of augmentation: pixel blitting, geometry, colour, filters, noise, cutout, or several by "
        "their first letters",
        json_schema_extra=_flag("--augpipe"),
    )
    p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability of each augmentation; with ada, the one to begin with",
        json_schema_extra=_flag("--p"),
    )
    target: float = Field(
        0.6,
        ge=-1,
        le=1,
        description="with ada: mean sign of D's scores of real images above which there is more augmentation",
        json_schema_extra=_flag("--target"),
    )
    ada_kimg: float = Field(
        500.0,
        gt=0,
        description="with ada: thousands of images in which p could go from 0 to 1; 100 with --transfer",
        json_schema_extra=_flag("--ada-kimg"),
    )
    interval: int = Field(4, ge=1, description="with ada: iterations between changes of p")

    @model_validator(mode="after")
    def _does_something(self) -> "AugmentConfig":
        if self.mode == "fixed" and not self.p:
            raise ValueError("--aug fixed with --p 0 augments nothing: give a --p above 0, or --aug none")
        return self

    @property
    def idle(self) -> tuple[str, ...]:
        """The settings that this mode does not look at."""
        of_ada = ("target", "ada_kimg", "interval")
        return {"ada": (), "fixed": of_ada, "none": ("pipe", "p", *of_ada)}[self.mode]

    @property
    def transformations(self) -> frozenset[str]:
        """The names of all that an `Augmentation` is to do."""
        # bgcfnc is the categories in their order: the first c is colour, the second cutout.
        categories = [self.pipe] if self.pipe in CATEGORIES else list(CATEGORIES)[: len(self.pipe)]
        return frozenset(name for category in categories for name in CATEGORIES[category])
