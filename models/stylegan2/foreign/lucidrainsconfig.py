"""Sizes of the generator of lucidrains/stylegan2-pytorch."""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Versions of its program scale the branches of attention differently: 1.6 multiplies the output by a factor for each
# channel; 1.8 and 1.8.8 normalize the input over the channels, with the epsilon added to the deviation or the variance.
Form = Literal["1.6", "1.8", "1.8.8"]


class LucidrainsConfig(BaseModel):
    """Sizes of the generator, by our names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: ClassVar[int] = 0

    doublings: int = Field(5, ge=1, le=9, description="how often 4 x 4 is doubled to give the image")
    channels: Literal[3, 4] = Field(3, description="image channels: 3 RGB, 4 RGBA")
    capacity: int = Field(16, ge=1, le=2**16, description="half the feature maps of the last block")
    channel_max: int = Field(512, ge=1, le=2**16, description="most feature maps of a layer")
    mapping_layers: int = Field(8, ge=1, le=32, description="fully connected layers of the mapping network")
    w_dim: int = Field(512, ge=1, le=2048, description="dimensions of z and of w")
    constant: bool = Field(True, description="the first features are learned, not made of w")
    attention: tuple[int, ...] = Field((), description="blocks that attention precedes; 0 is the 4 x 4 block")
    attention_form: Form = Field("1.8.8", description="version of its program that introduced this kind of attention")

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Self:
        if len(set(self.attention)) < len(self.attention) or not set(self.attention) <= set(range(self.num_ws)):
            raise ValueError(f"attention must name blocks from 0 to {self.doublings}, each once")
        return self

    @property
    def height(self) -> int:
        """Image height in pixels."""
        return 4 << self.doublings

    width: ClassVar[Any] = height

    @property
    def z_dim(self) -> int:
        """Dimensions of the latent z."""
        return self.w_dim

    @property
    def num_ws(self) -> int:
        """Number of w: one for every block."""
        return self.doublings + 1

    def channels_at(self, k: int) -> int:
        """Feature maps of the block after k doublings."""
        return min(self.capacity << (self.doublings + 1 - k), self.channel_max)
