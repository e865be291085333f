"""Sizes of a StyleGAN2 generator and discriminator, and the precision of their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.sizes import check_area, spell, usual_size
from torch_utils.device import Precision

FP16_RESOLUTIONS = 4  # float16 is used at the highest four resolutions only (StyleGAN2-ADA, appendix D.1)
FP16_CLAMP = 256.0  # limit of a convolution's output, far below 65504, the largest float16

SMALLEST_BASE_SIDE = 3
LARGEST_BASE_AREA = 256  # pixels: the learned constant and the discriminator's last dense layer grow with the base


def base_size(height: int, width: int) -> tuple[int, int, int]:
    """Split an image size into (base_height, base_width, doublings), with the most doublings: (3, 4, 7) for 512x384."""
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


class ImageConfig(BaseModel):
    """The images that a network makes or judges, and widths that generator and discriminator share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(1024, ge=6, le=2**23, description="image height in pixels")
    width: int = Field(1024, ge=6, le=2**23, description="image width in pixels")
    channels: Literal[1, 3, 4] = Field(3, description="image channels: 1 gray, 3 RGB, 4 RGBA")
    classes: int = Field(0, ge=0, le=2**20, description="number of classes; 0 is unconditional")
    channel_base: int = Field(32768, ge=4, le=2**26, description="feature maps times resolution, up to channel_max")
    channel_max: int = Field(512, ge=1, le=2**16, description="most feature maps of a layer")
    mapping_layers: int = Field(8, ge=1, le=32, description="fully connected layers of the mapping network")
    clamp: float = Field(0.0, ge=0, le=1e30, description="limit of a convolution's absolute output; 0 sets none")

    @model_validator(mode="after")
    def _size_has_the_form(self) -> ImageConfig:
        base_size(self.height, self.width)
        return self

    @property
    def base(self) -> tuple[int, int]:
        """(height, width) of the smallest feature maps: 4 x 4 for powers of two."""
        return base_size(self.height, self.width)[:2]

    @property
    def doublings(self) -> int:
        """Number of doublings from the base size to the image."""
        return base_size(self.height, self.width)[2]

    def size_at(self, k: int) -> tuple[int, int]:
        """(height, width) after k doublings."""
        return self.base[0] << k, self.base[1] << k

    def channels_at(self, k: int) -> int:
        """Feature maps after k doublings, computed as for a base of 4 x 4, also for other bases."""
        return max(1, min(self.channel_base // (4 << k), self.channel_max))


class GeneratorConfig(ImageConfig):
    """Mapping and synthesis network."""

    z_dim: int = Field(512, ge=1, le=2**16, description="dimensions of the latent z")
    w_dim: int = Field(512, ge=1, le=2**16, description="dimensions of the intermediate latent w")
    architecture: Literal["skip", "residual", "plain"] = Field(
        "skip", description="every block adds an RGB image; or only the last makes one, with or without residual blocks"
    )

    @property
    def num_ws(self) -> int:
        """Number of w: one for each convolution, and one for the last RGB layer."""
        return 2 * self.doublings + 2


class DiscriminatorConfig(ImageConfig):
    """Sizes of the discriminator, and how its blocks are joined."""

    architecture: Literal["residual", "plain", "skip"] = Field(
        "residual", description="with or without residual branches; or every block adds what it reads from the image"
    )
    mbstd_group: int = Field(4, ge=1, le=2**16, description="samples that share a minibatch standard deviation")


def set_low_clamp(network: torch.nn.Module, precision: Precision) -> None:
    """Set the limit of activations of all layers whose `clamp` is 0: `FP16_CLAMP` for fp16, no limit otherwise."""
    for module in network.modules():
        if hasattr(module, "low_clamp"):
            module.low_clamp = FP16_CLAMP if precision == "fp16" else 0.0  # type: ignore[assignment]


def block_dtypes(doublings: int, precision: Precision) -> list[torch.dtype]:
    """The dtype of the block after k doublings, for k = 0 ... doublings: float16 at the highest resolutions only."""
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    first = max(doublings + 1 - FP16_RESOLUTIONS, 1) if precision == "fp16" else 0
    return [low if k >= first else torch.float32 for k in range(doublings + 1)]
