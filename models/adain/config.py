"""Sizes of an encoder and of its mirrored decoder."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WIDTHS = (64, 128, 256, 512)  # of VGG-19 up to relu4_1 (Simonyan and Zisserman 2015)
DEPTHS = (2, 2, 4, 1)


class StyleConfig(BaseModel):
    """Encoder and decoder. Pictures may be of any size."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    widths: tuple[int, ...] = Field(WIDTHS, description="feature maps at each size, from the picture down")
    depths: tuple[int, ...] = Field(DEPTHS, description="convolutions at each size")
    patch: Literal[1, 2] = Field(
        1, description="side of the patches of pixels that are one position of the first features, by pixel unshuffle"
    )
    colored: bool = Field(True, description="the encoder begins with a 1x1 convolution of the colors")
    unbiased: bool = Field(
        False, description="deviations divide by count - 1, as in naoto0804's program; the paper divides by count"
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if len(self.widths) != len(self.depths) or not self.widths or min(*self.widths, *self.depths) < 1:
            raise ValueError("widths and depths need one number, 1 or more, for each size")
        if self.patch > 1 and self.colored:
            raise ValueError("colored is for a patch of 1 alone: set style.colored=false")
        return self

    @property
    def factor(self) -> int:
        """How many times smaller the last features are than the picture."""
        return self.patch * 2 ** (len(self.widths) - 1)

    @property
    def margin(self) -> int:
        """Pixels that an output pixel may depend on beyond itself, on each side, a multiple of `factor`."""
        encoder = self.patch * sum((depth + 1) << level for level, depth in enumerate(self.depths))
        return -(-2 * encoder // self.factor) * self.factor
