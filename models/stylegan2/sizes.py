"""Image sizes that a StyleGAN2 can have: a small base size, doubled n times."""

from collections.abc import Sequence

from imaging.sizes import check_area, spell, usual_size

SMALLEST_BASE_SIDE = 3
LARGEST_BASE_AREA = 256  # pixels: the learned constant and the discriminator's last dense layer grow with the base


def base_size(height: int, width: int) -> tuple[int, int, int]:
    """Split an image size into (base_height, base_width, doublings), with the most doublings.

    512x384 (width x height) gives (3, 4, 7). Raises ValueError as `fits` says.
    """
    check_area(height, width)
    base_height, base_width, doublings = height, width, 0
    while base_height % 2 == base_width % 2 == 0 and min(base_height, base_width) // 2 >= SMALLEST_BASE_SIDE:
        base_height, base_width, doublings = base_height // 2, base_width // 2, doublings + 1
    if doublings == 0 or base_height * base_width > LARGEST_BASE_AREA:
        raise ValueError(
            f"StyleGAN2 cannot have the size {spell(height, width)}: both sides must be small numbers (3x3 to 16x16, "
            f"or as many pixels) doubled equally often, as 512x384 is 4x3 doubled; a size near it is "
            f"{spell(*usual_size(height, width))}"
        )
    return base_height, base_width, doublings


def fits(shape: Sequence[int]) -> str:
    """Why a StyleGAN2 cannot have images of shape (height, width, ...), with a near size that it can; "" if it can."""
    try:
        base_size(*shape[:2])
    except ValueError as error:
        return str(error)
    return ""
