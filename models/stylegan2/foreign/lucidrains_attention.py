"""The attention of lucidrains' generators: self-attention of linear cost, then two 1x1 convolutions.

Keys are normalized over the pixels and queries over their dimensions, so keys and values are summed once for all
queries (Shen et al. 2018, "Efficient Attention: Attention with Linear Complexities"):

    context = sum over pixels of softmax(k) v^T        out = softmax(q) context / sqrt(d)

Letters: N batch, C channels, H W size, h heads, d dimensions of a head, P pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, DIMENSIONS = 8, 64
EPSILON = 1e-5
SLOPE = 0.2

# Versions of its program scale the two branches differently: 1.6 multiplies the output by a factor for each channel;
# 1.8 and 1.8.8 normalize the input over the channels, with the epsilon added to the deviation or to the variance.
Form = Literal["1.6", "1.8", "1.8.8"]


class Scaling(nn.Module):
    """The scaling of a branch: a norm of its input, or a factor of its output."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.form = form
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if form != "1.6" else None

    def before(self, x: Tensor) -> Tensor:
        """The input [N, C, H, W], normalized if the version does so."""
        if self.bias is None:
            return x
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        deviation = variance.sqrt() + EPSILON if self.form == "1.8" else (variance + EPSILON).sqrt()
        return (x - mean) / deviation * self.gain[:, None, None] + self.bias[:, None, None]

    def after(self, x: Tensor) -> Tensor:
        """The output [N, C, H, W], scaled if the version does so."""
        return x * self.gain[:, None, None] if self.bias is None else x


class Attention(nn.Module):
    """Attention and a network of single pixels, each with a residual connection."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        C, width = channels, HEADS * DIMENSIONS
        self.scaling0, self.scaling1 = Scaling(C, form), Scaling(C, form)
        self.queries = nn.Conv2d(C, width, 1, bias=False)
        self.surroundings = nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False)
        self.keys_values = nn.Conv2d(C, 2 * width, 1, bias=False)
        self.out = nn.Conv2d(width, C, 1)
        self.widen = nn.Conv2d(C, 2 * C, 1)
        self.narrow = nn.Conv2d(2 * C, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        x = x + self.scaling0.after(self.attend(self.scaling0.before(x)))
        hidden = F.leaky_relu(self.widen(self.scaling1.before(x)), SLOPE)
        return x + self.scaling1.after(self.narrow(hidden))

    def attend(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        N, _, H, W = x.shape
        k, v = self.keys_values(self.surroundings(x)).unflatten(1, (2, HEADS, DIMENSIONS)).flatten(-2).unbind(dim=1)
        q = self.queries(x).unflatten(1, (HEADS, DIMENSIONS)).flatten(-2)  # [N, h, d, P], as k and v
        context = k.softmax(dim=-1) @ v.mT  # [N, h, d, d]
        out = context.mT @ q.softmax(dim=-2) / DIMENSIONS**0.5  # [N, h, d, P]
        return self.out(F.gelu(out.reshape(N, HEADS * DIMENSIONS, H, W)))
