"""How images of any size get one size, by the names on the command line."""

from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from imaging.sizes import check_area, spell
from imaging.transforms import center_crop_resize, on_black, pad, squash

Transform = Literal["center-crop", "center-crop-wide", "center-crop-tall", "pad", "squash"]
Filter = Literal["lanczos", "box", "bicubic"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)
FILTERS: tuple[Filter, ...] = get_args(Filter)


@dataclass(frozen=True)
class Fitting:
    """Makes images of `size` = (height, width). Raises ValueError if the transform has no meaning for the size.

    "center-crop" cuts out the center in the aspect of the size. "center-crop-wide" also pastes the result onto a black
    square of side `width` (bars above and below: the official way for LSUN cars, 512x384 on 512x512),
    "center-crop-tall" onto one of side `height` (bars left and right). "pad" shows the whole image on black, "squash"
    stretches it.
    """

    size: tuple[int, int]
    transform: Transform = "center-crop"
    filter: Filter = "lanczos"

    def __post_init__(self) -> None:
        height, width = self.size
        for name, long, short, other in (("wide", width, height, "tall"), ("tall", height, width, "wide")):
            if self.transform == f"center-crop-{name}" and long < short:
                raise ValueError(
                    f"--transform center-crop-{name} needs a size that is {name}, not {spell(height, width)}: use "
                    f"center-crop-{other}"
                )
        check_area(*self.canvas)

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) of the result."""
        if self.transform in ("center-crop-wide", "center-crop-tall"):
            return max(self.size), max(self.size)
        return self.size

    def enlarges(self, width: int, height: int) -> bool:
        """Whether an image of this size is scaled up."""
        smaller = (width < self.size[1], height < self.size[0])
        return all(smaller) if self.transform == "pad" else any(smaller)

    def __call__(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        resample = Image.Resampling[self.filter.upper()]
        if self.transform == "pad":
            return pad(image, width, height, resample)
        if self.transform == "squash":
            return squash(image, width, height, resample)
        cropped = center_crop_resize(image, width, height, resample)
        return on_black(cropped, *reversed(self.canvas))
