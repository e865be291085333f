"""Sizes of a diffusion transformer, and the names of the published ones."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from models.diffusion.config import DenoiserConfig
from torch_utils.config import flag

Block = Literal["in-context", "cross-attention", "adaln", "adaln-zero"]

# Peebles and Xie 2023, table 1; ti is DeiT's smallest (Touvron et al. 2021).
SIZES: dict[str, dict[str, int]] = {
    "ti": {"hidden": 192, "depth": 6, "heads": 3},
    "s": {"hidden": 384, "depth": 12, "heads": 6},
    "b": {"hidden": 768, "depth": 12, "heads": 12},
    "l": {"hidden": 1024, "depth": 24, "heads": 16},
    "xl": {"hidden": 1152, "depth": 28, "heads": 16},
}
PATCHES = (1, 2, 4, 8, 16)


def named_sizes() -> dict[str, dict[str, Any]]:
    """All networks by name: {"dit-s/2": {"hidden": 384, ..., "patch": 2}}."""
    return {f"dit-{name}/{patch}": {**size, "patch": patch} for name, size in SIZES.items() for patch in PATCHES}


class DiTConfig(DenoiserConfig):
    """A diffusion transformer."""

    patch: int = Field(2, ge=1, le=256, description="side in pixels of the squares that become tokens")
    hidden: int = Field(384, ge=4, le=2**14, description="width of the tokens")
    depth: int = Field(12, ge=1, le=1024, description="number of blocks")
    heads: int = Field(6, ge=1, le=1024, description="attention heads")
    mlp_ratio: float = Field(4.0, gt=0, le=64, description="hidden width of a block's MLP, in multiples of hidden")
    block: Block = flag("adaln-zero", "--block", "Training", "how noise level and class steer the blocks")
    null_class: bool = Field(True, description="one more row of labels, for no class: --cfg-scale needs it")
    qk_norm: bool = Field(False, description="normalize queries and keys: steadier in bf16; published files do without")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.height // self.patch, self.width // self.patch

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.height % self.patch or self.width % self.patch:
            fitting = max(p for p in PATCHES if not (self.height % p or self.width % p))
            raise ValueError(
                f"patches of {self.patch} pixels do not divide pictures of {self.width}x{self.height}: "
                f"take patches of {fitting}, as in --model dit-s/{fitting}"
            )
        if self.hidden % self.heads:
            fitting = next(n for n in range(self.heads, 0, -1) if self.hidden % n == 0)
            raise ValueError(f"{self.heads} heads do not divide the width {self.hidden}: take {fitting}")
        if self.hidden % 4:
            raise ValueError(f"hidden is {self.hidden}, but positions need a multiple of 4")
        return self
