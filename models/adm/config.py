"""Sizes of the U-Net and of the classifier, and those of the published ones."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from models.diffusion.config import DenoiserConfig, NoisyConfig
from torch_utils.config import flag

Conditioning = Literal["add", "adagn", "cross-attention"]
Pool = Literal["attention", "adaptive", "spatial", "spatial_v2"]


class TrunkConfig(NoisyConfig):
    """What the U-Net and the classifier have in common."""

    model_channels: int = Field(128, ge=1, le=2**14, description="number of feature maps, to be multiplied by mult")
    mult: tuple[float, ...] = Field((1, 2, 2), description="factors of model_channels, from full size down")
    res_blocks: int = Field(2, ge=1, le=64, description="residual blocks at each size")
    attention: tuple[int, ...] = Field((2, 4), description="sizes with attention: 4 is a quarter")
    heads: int = Field(1, ge=1, le=1024, description="attention heads, unless head_channels is given")
    head_channels: int = Field(0, ge=0, le=2**14, description="channels of a head, in place of heads; 0: unused")
    groups: int = Field(32, ge=1, le=2**14, description="groups of the group norms")
    resblock_updown: bool = Field(True, description="residual blocks change sizes (BigGAN), not other layers")
    conv_resample: bool = Field(True, description="these other layers have a convolution")
    new_attention_order: bool = Field(False, description="channels of attention are (qkv, head), not (head, qkv)")

    def channels_at(self, level: int) -> int:
        """Feature maps after `level` halvings."""
        return int(self.mult[level] * self.model_channels)

    def heads_for(self, channels: int, heads: int = 0) -> int:
        """Attention heads of a layer; `heads` in the place of the setting."""
        return channels // self.head_channels if self.head_channels else heads or self.heads

    @property
    def smallest(self) -> tuple[int, int]:
        """(height, width) of the smallest feature maps."""
        factor = 2 ** (len(self.mult) - 1)
        return self.height // factor, self.width // factor

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        factor = 2 ** (len(self.mult) - 1)
        if not self.mult or self.height % factor or self.width % factor:
            raise ValueError(
                f"pictures of {self.width}x{self.height} cannot be halved {len(self.mult) - 1} times, as mult asks for"
            )
        for level in range(len(self.mult)):
            channels = self.channels_at(level)
            attends = 2**level in self.attention or level == len(self.mult) - 1
            if not channels or channels % self.groups:
                raise ValueError(
                    f"{self.groups} groups do not divide {channels} feature maps: set groups to a divisor of them"
                )
            if attends and channels % (self.head_channels or self.heads):
                raise ValueError(
                    f"attention heads do not divide {channels} feature maps: set head_channels to a divisor of them"
                )
        return self


class UNetConfig(TrunkConfig, DenoiserConfig):
    """The denoising U-Net."""

    conditioning: Conditioning = flag("adagn", "--conditioning", "Training", "how noise level and class steer blocks")
    heads_upsample: int = Field(0, ge=0, le=1024, description="heads of the half that doubles sizes; 0: same")
    conv_skip: bool = Field(False, description="3x3 skip connections where the number of feature maps changes")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of feature maps dropped in training")
    null_class: bool = Field(True, description="one more row of labels, for no class: --cfg-scale needs it")


class ClassifierConfig(TrunkConfig):
    """The classifier of noisy pictures."""

    pool: Pool = Field("attention", description="how the feature maps become one vector")
    conditioning: Conditioning = Field("adagn", description="how the noise level steers the network")
    conv_skip: bool = False
    dropout: float = Field(0.0, ge=0, lt=1, description="share of feature maps dropped in training")


# Of the released files, by side of the pictures: Dhariwal and Nichol 2021, table 4 and section 4.3.
_MULT: dict[int, tuple[float, ...]] = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}


def published_unet(side: int, classes: int = 1000) -> dict[str, Any]:
    """The settings of a released U-Net: side 64, 128, 256 or 512; without classes, 256 or 512."""
    size = {"model_channels": 192 if side == 64 else 256, "res_blocks": 3 if side == 64 else 2, "mult": _MULT[side]}
    heads = {"heads": 4} if side == 128 else {"head_channels": 64}
    return {
        **_published(side, classes),
        **size,
        **heads,
        "new_attention_order": side == 64,
        "null_class": False,
        "noise": {"objective": "eps", "learned_variance": True, "schedule": "cosine" if side == 64 else "linear"},
    }


def published_classifier(side: int) -> dict[str, Any]:
    """The settings of a released classifier: side 64, 128, 256 or 512."""
    depth = 4 if side == 64 else 2
    return {
        **_published(side, 1000),
        "model_channels": 128,
        "res_blocks": depth,
        "mult": _MULT[side],
        "head_channels": 64,
        "noise": {"objective": "eps", "schedule": "cosine" if side == 64 else "linear"},
    }


def _published(side: int, classes: int) -> dict[str, Any]:
    factors = tuple(side // size for size in (32, 16, 8))
    return {"height": side, "width": side, "channels": 3, "classes": classes, "attention": factors}
