"""The blocks of the U-Net (Dhariwal and Nichol 2021, section 3). Names of tensors are those of the published files."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adm.config import Conditioning
from models.compute import Conv2d
from models.conditioning import CrossAttention, ModulationHead, modulate, spread

REDUCED = (torch.float16, torch.bfloat16)


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all parameters 0: its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class GroupNorm(nn.GroupNorm):
    """Group norm in float32 (or the double precision of a test)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float() if input.dtype in REDUCED else input)


class Dropout(nn.Dropout):
    """Dropout whose mask follows from a seed, so that it can be computed again; without one, from PyTorch's state."""

    seed: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.seed is None or not self.training or not self.p:
            return super().forward(input)
        generator = torch.Generator(input.device).manual_seed(self.seed)
        kept = torch.rand(input.shape, device=input.device, generator=generator) >= self.p
        return input * kept / (1 - self.p)


class Pointwise(nn.Module):
    """A 1x1 convolution of positions, with weights [O, I, 1] as the published files have them."""

    compute: torch.dtype | None = None

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layer = nn.Conv1d(inputs, outputs, 1)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, T] -> [N, O, T]."""
        dtype = self.compute or self.weight.dtype
        assert self.bias is not None
        return F.conv1d(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))


class Downsample(nn.Module):
    """Half the size: by a convolution with stride 2, or the mean of 2x2 pixels."""

    def __init__(self, channels: int, conv: bool, outputs: int | None = None) -> None:
        super().__init__()
        self.op = Conv2d(channels, outputs or channels, 3, 2, 1) if conv else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Twice the size: pixels repeated, then a convolution where `conv` says so."""

    def __init__(self, channels: int, conv: bool, outputs: int | None = None) -> None:
        super().__init__()
        self.conv = Conv2d(channels, outputs or channels, 3, 1, 1) if conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class ResBlock(nn.Module):
    """Two convolutions around the condition, added to the input.

    Args:
        channels, outputs: feature maps.
        embedding: width of the condition.
        conditioning: "adagn": the second norm is scaled and shifted by the condition, (1 + scale) GN(h) + shift;
            "add": the condition is added before this norm; "cross-attention": features attend to time and class.
        groups: of the norms.
        dropout: share of feature maps dropped before the second convolution.
        resample: the block's picture and its features are halved or doubled by it.
        conv_skip: 3x3 skip connection where feature maps change.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        embedding: int,
        conditioning: Conditioning = "adagn",
        groups: int = 32,
        dropout: float = 0.0,
        resample: Downsample | Upsample | None = None,
        conv_skip: bool = False,
    ) -> None:
        super().__init__()
        self.conditioning, self.resample = conditioning, resample
        self.in_layers = nn.Sequential(GroupNorm(groups, channels), nn.SiLU(), Conv2d(channels, outputs, 3, 1, 1))
        if conditioning == "adagn":
            self.emb_layers: nn.Module = ModulationHead(embedding, outputs, ("scale", "shift"), zero=False)
        elif conditioning == "add":
            self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs))
        else:
            self.cross = CrossAttention(outputs, 1, embedding)
            zeroed(self.cross.proj)
            self.cross_norm = GroupNorm(groups, outputs)
        last = zeroed(Conv2d(outputs, outputs, 3, 1, 1))
        self.out_layers = nn.Sequential(GroupNorm(groups, outputs), nn.SiLU(), Dropout(dropout), last)
        if outputs == channels:
            self.skip_connection: nn.Module = nn.Identity()
        else:
            self.skip_connection = Conv2d(channels, outputs, 3 if conv_skip else 1, 1, 1 if conv_skip else 0)

    def forward(self, x: Tensor, emb: Tensor, tokens: Tensor) -> Tensor:
        """x [N, C, H, W], condition [N, E] and its parts as tokens [N, L, E] -> [N, O, H', W']."""
        h = self.in_layers[:2](x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.in_layers[2](h)
        norm, rest = self.out_layers[0], self.out_layers[1:]
        if self.conditioning == "adagn":
            assert isinstance(self.emb_layers, ModulationHead)
            (by,) = self.emb_layers.steer(emb)
            h = modulate(norm(h), by.shift, by.scale)
        elif self.conditioning == "add":
            h = norm(h + spread(self.emb_layers(emb), h))
        else:
            positions = self.cross_norm(h).flatten(2).transpose(1, 2)
            h = norm(h + self.cross(positions, tokens).transpose(1, 2).reshape(h.shape))
        return self.skip_connection(x) + rest(h)


class AttentionBlock(nn.Module):
    """Self-attention of positions, added to the input.

    Args:
        channels: feature maps.
        heads: attention heads.
        groups: of the norm.
        new_order: order of the channels of q, k and v: (qkv, head, d), otherwise (head, qkv, d).
    """

    def __init__(self, channels: int, heads: int, groups: int = 32, new_order: bool = False) -> None:
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = GroupNorm(groups, channels)
        self.qkv = Pointwise(channels, 3 * channels)
        self.proj_out = zeroed(Pointwise(channels, channels))

    def forward(self, x: Tensor, emb: Tensor | None = None, tokens: Tensor | None = None) -> Tensor:
        """x [N, C, H, W] -> the same shape; the condition has no part in it."""
        found = attend(self.qkv(self.norm(x.flatten(2))), self.heads, self.new_order)
        return x + self.proj_out(found).reshape(x.shape)


def attend(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """softmax(q k / sqrt(d)) v over positions, qkv [N, 3 C, T] -> [N, C, T]."""
    order = (3, heads, -1) if new_order else (heads, 3, -1)
    split = qkv.unflatten(1, order)
    parts = (split[:, i] if new_order else split[:, :, i] for i in range(3))  # each [N, heads, d, T]
    q, k, v = (part.transpose(2, 3).contiguous() for part in parts)
    return F.scaled_dot_product_attention(q, k, v).transpose(2, 3).flatten(1, 2)


class AttentionPool(nn.Module):
    """Feature maps become one vector: their mean attends to all positions (Radford et al. 2021, section 2.3)."""

    def __init__(self, size: tuple[int, int], channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        count = size[0] * size[1] + 1
        self.positional_embedding = nn.Parameter(torch.randn(channels, count) / channels**0.5)
        self.qkv_proj = Pointwise(channels, 3 * channels)
        self.c_proj = Pointwise(channels, outputs)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs]."""
        x = x.flatten(2)
        tokens = torch.cat([x.mean(2, keepdim=True), x], dim=2) + self.positional_embedding
        return self.c_proj(attend(self.qkv_proj(tokens), self.heads, new_order=True))[:, :, 0]
