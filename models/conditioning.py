"""How a condition steers features: normalize over some axes, then scale and shift by numbers that come from elsewhere.

    y = (1 + scale) * (x - mean) / sqrt(variance + eps) + shift

The methods differ in the axes of the statistics, and in where scale and shift come from (docs/conditioning.md).
Features are pictures [N, C, H, W] or tokens [N, T, C]; positions are the axes H, W or T.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compute import Linear

Kind = Literal["batch", "layer", "instance", "group"]
Chunk = Literal["shift", "scale", "gate"]

EPSILON = 1e-5  # added to variances, as in torch.nn


def is_tokens(x: Tensor) -> bool:
    """Whether features are tokens [N, T, C], with channels last."""
    return x.ndim == 3


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Values for each channel [N, C] or [C], in the shape that broadcasts to features."""
    values = values if values.ndim == 2 else values[None]
    return values[:, None] if is_tokens(like) else values[:, :, None, None]


class Statistics(NamedTuple):
    """Of features, in a shape that broadcasts to them."""

    mean: Tensor
    std: Tensor  # sqrt(variance + eps)


def statistics(
    x: Tensor,
    kind: Kind,
    groups: int = 1,
    mask: Tensor | None = None,
    eps: float = EPSILON,
    unbiased: bool = False,
) -> Statistics:
    """Mean and standard deviation over the axes of a kind of normalization.

    Args:
        x: pictures [N, C, H, W] or tokens [N, T, C].
        kind: "batch": over samples and positions; "layer": over channels, in pictures also over positions (Ba et al.
            2016; a Transformer normalizes each token by itself); "instance": over positions; "group": over positions
            and the channels of each of `groups` groups (Wu and He 2018).
        groups: number of groups.
        mask: weights of positions in [0, 1], [N or 1, 1, H, W] or [N or 1, T, 1]; positions of weight 0 do not count.
        eps: added to the variance.
        unbiased: divide the sum of squares by count - 1, which Huang and Belongie's AdaIN of some programs does.

    Raises:
        ValueError: groups do not divide the channels.
    """
    channel = 2 if is_tokens(x) else 1
    shape = x.shape
    if kind == "group":
        if shape[channel] % groups:
            raise ValueError(f"{groups} groups do not divide {shape[channel]} channels")
        x = x.unflatten(channel, (groups, shape[channel] // groups))
        mask = None if mask is None else mask.unsqueeze(channel)
        axes = (1, 3) if channel == 2 else (2, 3, 4)
    else:
        positions = (1,) if channel == 2 else (2, 3)
        layer = (2,) if channel == 2 else (1, 2, 3)
        axes = {"batch": (0, *positions), "layer": layer, "instance": positions}[kind]
    weight = x.new_ones(()).expand_as(x) if mask is None else mask.to(x.dtype).expand_as(x)

    def total(values: Tensor) -> Tensor:
        return (values if mask is None else values * weight).sum(axes, keepdim=True)

    count = weight.sum(axes, keepdim=True)
    mean = total(x) / count
    divisor = torch.maximum(count - 1, count / 2) if unbiased else count  # finite for fewer than two positions
    variance = total((x - mean).square()) / divisor
    std = (variance + eps).sqrt()
    if kind == "group":
        whole = [1 if axis in axes and axis != channel + 1 else size for axis, size in enumerate(x.shape)]
        return Statistics(*(value.expand(whole).flatten(channel, channel + 1) for value in (mean, std)))
    return Statistics(mean, std)


def normalize(x: Tensor, kind: Kind, groups: int = 1, mask: Tensor | None = None, eps: float = EPSILON) -> Tensor:
    """Features with mean 0 and variance 1 over the axes of `kind`: (x - mean) / sqrt(variance + eps).

    Arguments as of `statistics`. Without a mask PyTorch's fused kernels compute the common cases.
    """
    if mask is None and kind == "layer" and is_tokens(x):
        return F.layer_norm(x, x.shape[-1:], eps=eps)
    if mask is None and not is_tokens(x) and kind != "batch" and not (kind == "group" and x.shape[1] % groups):
        return F.group_norm(x, {"layer": 1, "instance": x.shape[1], "group": groups}[kind], eps=eps)
    mean, std = statistics(x, kind, groups, mask, eps)
    return (x - mean) / std


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) * x + shift, with shift and scale [N, C] or [C] (FiLM, Perez et al. 2018, equation 2).

    The 1 makes a head of zeros the identity that still receives gradients.
    """
    return torch.addcmul(spread(shift, x), x, 1 + spread(scale, x))


class Steering(NamedTuple):
    """What a head makes of a condition, each [N, C]."""

    shift: Tensor
    scale: Tensor
    gate: Tensor | None = None  # factor of a residual branch


class ModulationHead(nn.Sequential):
    """The linear layer that makes shift, scale and gate of a condition: Linear(SiLU(condition)).

    It stands apart from the norm whose output it steers.

    Args:
        condition: width of the condition.
        channels: of the features.
        order: the chunks of its output as they lie in the weights: DiT's are shift, scale, gate, ADM's scale, shift.
        sets: how often the order repeats: DiT's blocks steer two branches.
        zero: start with weights and bias 0, so that the features pass unchanged and gates are shut (adaLN-Zero).
    """

    def __init__(
        self,
        condition: int,
        channels: int,
        order: Sequence[Chunk] = ("shift", "scale"),
        sets: int = 1,
        zero: bool = True,
    ) -> None:
        super().__init__(nn.SiLU(), nn.Linear(condition, channels * len(order) * sets))
        self.order, self.sets = tuple(order), sets
        if zero:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    def steer(self, condition: Tensor) -> list[Steering]:
        """A `Steering` for each set, of a condition [N, width]."""
        chunks = iter(self(condition).chunk(len(self.order) * self.sets, dim=1))
        return [Steering(**{name: next(chunks) for name in self.order}) for _ in range(self.sets)]


def ada_in(
    content: Tensor,
    style: Tensor,
    content_mask: Tensor | None = None,
    style_mask: Tensor | None = None,
    eps: float = EPSILON,
    unbiased: bool = False,
) -> Tensor:
    """Content features with the statistics of style features (Huang and Belongie 2017, equation 8).

    Nothing is learned: mean and deviation of each channel are measured on the style's features. The two may differ in
    size.

    Args:
        content: [N, C, H, W]; style: [N or 1, C, H', W'].
        content_mask, style_mask: weights of positions, as of `statistics`.
        eps, unbiased: as of `statistics`.
    """
    own = statistics(content, "instance", mask=content_mask, eps=eps, unbiased=unbiased)
    return restyled(content, own, statistics(style, "instance", mask=style_mask, eps=eps, unbiased=unbiased))


def restyled(x: Tensor, own: Statistics, wanted: Statistics) -> Tensor:
    """Features of some statistics with other ones."""
    return torch.addcmul(wanted.mean, x - own.mean, wanted.std / own.std)


class ConditionalInstanceNorm(nn.Module):
    """Instance norm with a row of scales and shifts for each style (Dumoulin et al. 2017, equation 5).

    Args:
        channels: of the features.
        styles: number of rows.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(styles, channels))  # the factor is 1 + scale
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x [N, C, H, W] in the style of a mixture of rows, weights [N, styles]; one-hot for a single style."""
        return modulate(normalize(x, "instance"), weights @ self.shift, weights @ self.scale)


class StyleAdaIN(nn.Module):
    """Instance norm with scale and shift from a learned affine map of w (Karras et al. 2019, equation 1).

    Args:
        w_dim: width of w.
        channels: of the features.
    """

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, 2 * channels)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, C, H, W] in the style of w [N, w_dim]."""
        scale, shift = self.affine(w).chunk(2, dim=1)
        return modulate(normalize(x, "instance"), shift, scale)


def expected_std(weight: Tensor, style: Tensor, eps: float = 1e-8) -> Tensor:
    """The deviation [N, O] that a convolution's output is expected to have, for independent input of unit variance.

    sqrt(sum over inputs and positions of (style * weight)^2 + eps) (Karras et al. 2020, equation 3).

    Args:
        weight: [O, I, k, k].
        style: scale of each input channel, [N, I].
    """
    return (style.square() @ weight.square().sum((2, 3)).T + eps).sqrt()


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, eps: float = 1e-8) -> Tensor:
    """A convolution of scaled features, divided by the deviation that is expected of it.

    That is StyleGAN2's weight demodulation (Karras et al. 2020, equations 1 to 3): instance norm with expected
    statistics in the place of measured ones, so that the mean stays and no feature map is singled out.

    Args:
        x: [N, I, H, W]; weight: [O, I, k, k], k odd; style: [N, I].
    """
    out = F.conv2d(x * spread(style, x), weight, padding=weight.shape[-1] // 2)
    return out / spread(expected_std(weight, style, eps), out)


def heads_apart(x: Tensor, heads: int) -> Tensor:
    """Tokens [N, T, C] -> [N, heads, T, C / heads]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def heads_together(x: Tensor) -> Tensor:
    """[N, heads, T, d] -> tokens [N, T, heads * d]."""
    return x.transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Attention of features to the tokens of a condition (Vaswani et al. 2017, section 3.2; Rombach et al. 2022).

    Over a context of one token the softmax is 1, and every position gets the same vector: give two or more.

    Args:
        channels: of the features, and of the output.
        heads: divides the channels.
        context: width of the context's tokens.
    """

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = Linear(channels, channels)
        self.kv = Linear(context, 2 * channels)  # rows: keys, values
        self.proj = Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [N, T, C] and context [N, L, D] -> [N, T, C]; mask, bool [N, L], is False for tokens that do not count."""
        q = heads_apart(self.q(x), self.heads)
        k, v = (heads_apart(part, self.heads) for part in self.kv(context).chunk(2, dim=2))
        seen = None if mask is None else mask[:, None, None]
        return self.proj(heads_together(F.scaled_dot_product_attention(q, k, v, attn_mask=seen)))


def with_context(x: Tensor, *tokens: Tensor) -> Tensor:
    """Tokens [N, T, C], then those of a condition, each [N, C] (in-context conditioning, Peebles and Xie 2023)."""
    return torch.cat([x, *(token[:, None] for token in tokens)], dim=1)
