"""Image to image: one color mode, upright, one size."""

import io
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageCms

from imaging.sizes import check_area, spell

MODES = ("L", "RGB", "RGBA")  # from poorest to richest: gray, color, color with transparency
NAMES = {"L": "gray", "RGB": "RGB", "RGBA": "RGBA"}
WITH_ALPHA = ("LA", "La", "RGBA", "RGBa", "PA")
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # gray of more than 8 bits
PROFILED = ("L", "RGB", "RGBA", "CMYK")  # modes whose ICC profiles are applied
EXIF_ORIENTATION = 0x0112
SHEET = "a sheet of several images"  # in the EXIF description of sheets that this project writes, of any format
TURNS = {  # EXIF orientation -> the transposition that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Transform = Literal["center-crop", "center-crop-wide", "center-crop-tall", "pad", "squash"]
Filter = Literal["lanczos", "box", "bicubic"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)
FILTERS: tuple[Filter, ...] = get_args(Filter)


def mode_of(image: Image.Image) -> str:
    """The poorest of L, RGB and RGBA that can hold an image of any mode. Only its header need be loaded."""
    if image.mode in WITH_ALPHA or (image.mode == "P" and "transparency" in image.info):
        return "RGBA"
    return "L" if image.mode in ("1", "L", *DEEP) else "RGB"


def richest(modes: set[str]) -> str:
    """The mode of L, RGB and RGBA that can hold all `modes`."""
    return max(modes, key=MODES.index)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image, of 8 bits, in mode L, RGB or RGBA; CMYK and palettes become RGB."""
    return image if image.mode == mode else image.convert(mode)


def to_srgb(image: Image.Image) -> Image.Image:
    """The image with the colors of its ICC profile as sRGB; unchanged without a profile that fits its mode."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in PROFILED:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # damaged, or of another kind of colors
        return image
    return image if found is None else found


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of the upright image."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data says."""
    orientation = _orientation(image)
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8. In a PNG it may come after all pixels, and Pillow turns TIFFs by itself."""
    if image.format not in ("JPEG", "MPO", "WEBP"):
        return 1
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # the pixels may be fine although metadata is damaged
        return 1
    return orientation if orientation in TURNS else 1


def is_opaque(image: Image.Image) -> bool:
    """Whether all pixels of an RGBA image are opaque."""
    return image.getchannel("A").getextrema()[0] == 255


def on_white(image: Image.Image) -> Image.Image:
    """An RGBA image on white, in RGB."""
    paper = Image.new("RGB", image.size, (255, 255, 255))
    paper.paste(image, (0, 0), image.getchannel("A"))
    return paper


def center_crop_resize(
    image: Image.Image, width: int, height: int, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """The center of the image in the aspect width:height, resized without aliasing (over the filter's full support).

    Transparent pixels do not bleed into their neighbors. An image that already has the size is returned unchanged.
    """
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
    return image.resize((width, height), resample, box=box)


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
            scale = min(width / image.width, height / image.height)
            inner = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
            image = image.resize(inner, resample) if image.size != inner else image
        elif self.transform == "squash":
            image = image if image.size == (width, height) else image.resize((width, height), resample)
        else:
            image = center_crop_resize(image, width, height, resample)
        height, width = self.canvas
        if image.size == (width, height):
            return image
        canvas = Image.new(image.mode, (width, height), (0, 0, 0, 255) if image.mode == "RGBA" else 0)
        # centered; an odd pixel goes to the bottom or right
        canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return canvas
