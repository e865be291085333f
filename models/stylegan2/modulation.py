"""The modulated convolution. Letters: N batch, I input and O output channels, H W size, k kernel, D width of w."""

from math import sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_ops import conv2d_resample, scale_bias_act
from models.stylegan2.layers import LowPass, convolution_weights

DEMODULATION_EPSILON = 1e-8


class Weights(NamedTuple):
    """The weights of a modulated convolution, prepared for any style."""

    w: Tensor  # [O, I, k, k] as stored
    low: Tensor  # the same in the dtype of the activations
    energy: Tensor | None  # sum over k of w^2, [O, I]; None without demodulation


class Conv2DMod(nn.Module):
    """Convolution whose weights are modulated by a style and demodulated (Karras et al. 2020, section 2.2).

        w'[n,o,i,k]  = s[n,i] * w[o,i,k]                                               equation 1
        w''[n,o,i,k] = w'[n,o,i,k] / sqrt(sum over i,k of w'[n,o,i,k]^2 + epsilon)      equation 3

    for sample n, style s and stored weight w. `grouped` computes this as a grouped convolution with one group per
    sample, `scaled` as one shared convolution of scaled activations; `forward` takes the cheaper way by the shapes.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, demodulate: bool = True, up: int = 1) -> None:
        super().__init__()
        self.demodulate, self.up = demodulate, up
        self.low_pass = LowPass() if up > 1 else None
        self.weight = convolution_weights(outputs, inputs, kernel, transposed=up > 1)
        self.weight_gain = 1 / sqrt(inputs * kernel**2)
        self.folded: Weights | None = None
        self._folded_for: torch.dtype | None = None  # dtype of the activations

    def forward(
        self,
        x: Tensor,
        style: Tensor,
        noise: Tensor | None = None,
        bias: Tensor | None = None,
        act: str = "linear",
        clamp: float | None = None,
    ) -> Tensor:
        """x [N, I, H, W] in any dtype and float32 style [N, I] -> [N, O, H * up, W * up] in the dtype of x.

        Noise [N, 1, H * up, W * up] or [H * up, W * up] and bias [O] are added, then act and clamp.
        """
        x, scale = self.grouped(x, style) if self.prefers_grouped(x) else self.scaled(x, style)
        return scale_bias_act(x, scale, noise, bias, act=act, clamp=clamp)

    def prefers_grouped(self, x: Tensor) -> bool:
        """Whether weights per sample cost less than scaled activations.

        A 1x1 convolution with weights per sample is a batch of matrix products, in which the weights are the smallest
        part. Otherwise a single sample can have its own weights, if they are smaller than the activations.
        """
        O, I, k, _ = self.weight.shape
        N, _, H, W = x.shape
        if k == self.up == 1:
            return True
        if torch.compiler.is_exporting():
            return False  # exported graphs run for any batch
        return N == 1 and O * I * k * k < (I + O * self.up**2) * H * W

    def demodulation(self, energy: Tensor, style: Tensor) -> Tensor:
        """1 / standard deviation of each output [N, O], from the energy of the weights [O, I] and styles [N, I]."""
        return (style.square() @ energy.t() + DEMODULATION_EPSILON).rsqrt()

    def scaled(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor | None]:
        """One convolution of scaled inputs for the whole batch, and the scale [N, O] still to apply."""
        _, w, energy = self._prepared(x.dtype)
        style = self._style(x.dtype, style)
        x = self.convolve(scale_bias_act(x, style), w, groups=1)
        return x, self.demodulation(energy, style) if energy is not None else None

    def grouped(self, x: Tensor, style: Tensor) -> tuple[Tensor, None]:
        """The definition: every sample is a group with its own weights. No scale is left to apply."""
        w, _, energy = self._prepared(x.dtype)
        style = self._style(x.dtype, style)
        O, I, k, _ = w.shape
        N, _, H, W = x.shape
        factors = style[:, None, :]  # [N, 1 or O, I]
        if energy is not None:
            factors = factors * self.demodulation(energy, style)[:, :, None]
        w_n = (w * factors[..., None, None]).to(x.dtype)  # [N, O, I, k, k]
        if k == self.up == 1:
            return multiply(x, w_n.flatten(2)), None
        x = self.convolve(x.reshape(1, N * I, H, W) if N > 1 else x, w_n.reshape(N * O, I, k, k), groups=N)
        return x.reshape(N, O, H * self.up, W * self.up) if N > 1 else x, None

    @torch.no_grad()
    def fold(self, dtype: torch.dtype | None) -> None:
        """Prepare the weights for inference in this dtype, and while they do not change; None undoes it."""
        self.folded = None if dtype is None else self._weights(dtype)
        self._folded_for = dtype

    def _apply(self, fn: Any, recurse: bool = True) -> "Conv2DMod":
        """As of nn.Module, for `to`, `half` and so on; folded weights are prepared again from the moved weights."""
        super()._apply(fn, recurse)
        if self.folded is not None:
            self.fold(self._folded_for)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.fold(None)
        super()._load_from_state_dict(*args, **kwargs)

    def _prepared(self, dtype: torch.dtype) -> Weights:
        """The folded weights; or the present ones if none are folded, or gradients are needed."""
        if self.folded is None or (torch.is_grad_enabled() and self.weight.requires_grad):
            return self._weights(dtype)
        return self.folded

    def _weights(self, dtype: torch.dtype) -> Weights:
        """The prepared weights: for float16 scaled to at most 1, which demodulation undoes (StyleGAN2-ADA, D.1)."""
        w: Tensor = self.weight
        if self.demodulate and dtype == torch.float16:
            w = w * (self.weight_gain / w.abs().amax(dim=[1, 2, 3], keepdim=True))
        return Weights(w, w.to(dtype), w.square().sum(dim=[2, 3]) if self.demodulate else None)

    def _style(self, dtype: torch.dtype, style: Tensor) -> Tensor:
        """Styles [N, I] with the gain of layers that are not demodulated; in float16 at most one."""
        if not self.demodulate:
            return style * self.weight_gain
        return style / style.abs().amax(dim=1, keepdim=True) if dtype == torch.float16 else style

    def convolve(self, x: Tensor, w: Tensor, groups: int = 1) -> Tensor:
        """Images [N, groups * I, H, W] and weights [groups * O, I, k, k] -> [N, groups * O, H * up, W * up]."""
        # As a convolution of the upsampled image, the weights of the transposed convolution are flipped.
        f = None if self.low_pass is None else self.low_pass(x)
        return conv2d_resample(x, w, f, up=self.up, padding=w.shape[2] // 2, groups=groups)


def multiply(x: Tensor, w: Tensor) -> Tensor:
    """Pixels of x [N, I, H, W] times their sample's matrix w [N, O, I] -> [N, O, H, W] in the memory format of x."""
    (N, _, H, W), O = x.shape, w.shape[1]
    if not x.is_contiguous(memory_format=torch.channels_last):
        return torch.bmm(w, x.flatten(2)).reshape(N, O, H, W)
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [N, H W, I]
    missing = -O % _columns(x.device, x.dtype)
    y = torch.bmm(pixels, F.pad(w, [0, 0, 0, missing]).mT)[:, :, :O] if missing else torch.bmm(pixels, w.mT)
    return y.reshape(N, H, W, O).permute(0, 3, 1, 2)


def _columns(device: torch.device, dtype: torch.dtype) -> int:
    """The number that columns should be a multiple of: for tensor cores, rows must begin at multiples of 16 bytes."""
    return 8 if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) else 1
