"""The layers of StyleGAN2. Letters: N batch, I input and O output channels, H W size, k kernel, D width of w.

Equalised learning rate (Karras et al. 2018, section 4.1): weights are stored with unit variance and scaled by
1 / sqrt(fan_in) when used, so that one learning rate fits every layer.
"""

from math import sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_ops import ACTIVATIONS, bias_act, conv2d_resample, scale_bias_act, setup_filter

DEMODULATION_EPSILON = 1e-8


def blur(device: torch.device | str = "cpu") -> Tensor:
    """The low-pass filter of every resampling layer, [4, 4] with sum 1: a binomial, as Zhang (2019) advises."""
    with torch.inference_mode(False):  # it will serve training too
        return setup_filter((1, 3, 3, 1), device=device)


class LowPass(nn.Module):
    """Holds `blur` as a buffer that moves with the network and that no file keeps."""

    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taps", blur(_real(torch.empty([]).device)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The filter, on the device of x: a network whose tensors were assigned may be on another one."""
        return self.taps if self.taps.device == x.device else self.taps.to(x.device)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.taps = blur(_real(self.taps.device))  # `to_empty` leaves any numbers, and no file has the right ones


def _real(device: torch.device) -> torch.device:
    """The device, or the CPU in the place of the one that has no numbers."""
    return torch.device("cpu") if device.type == "meta" else device


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scales vectors [N, D] to unit mean square (Karras et al. 2018, section 4.2)."""
    return x * (x.square().mean(dim=1, keepdim=True) + epsilon).rsqrt()


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout in which convolutions run fastest on this device, whatever their type.

    On CUDA that must be the layout of the weights: cuDNN takes channels last when either operand has it, and would copy
    the other.
    """
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def _convolution_weights(outputs: int, inputs: int, kernel: int, transposed: bool = False) -> nn.Parameter:
    """[O, I, k, k], in the memory layout that convolutions read with the least rearranging.

    That is channels last; for a transposed convolution, which takes [I, O, k, k], channels last of that.
    """
    w = torch.randn(outputs, inputs, kernel, kernel)
    if transposed:
        return nn.Parameter(w.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1))
    return nn.Parameter(w.contiguous(memory_format=torch.channels_last))


class FullyConnected(nn.Module):
    """Fully connected layer with equalised learning rate: act(x W^T + b).

    Args:
        lr_multiplier: factor of the learning rate of this layer, 0.01 in mapping networks (Karras et al. 2019, C).
        bias_init: value of the bias in use when training starts.
    """

    def __init__(
        self, inputs: int, outputs: int, act: str = "linear", lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.act = act
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([outputs], bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        x = x * self.weight_gain  # as good as scaling the weights, and smaller
        b = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        if self.act == "linear":
            return torch.addmm(b, x, self.weight.t())
        return bias_act(x @ self.weight.t(), b, act=self.act)


class Conv2D(nn.Module):
    """Convolution with equalised learning rate, optional halving of the size, bias and activation."""

    low_clamp: float = 0.0  # the limit that the number format needs where `clamp` sets none; set_precision changes it

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        bias: bool = True,
        act: str = "linear",
        down: int = 1,
        clamp: float = 0.0,
    ) -> None:
        super().__init__()
        self.act, self.down, self.clamp = act, down, clamp
        self.low_pass = LowPass() if down > 1 else None
        self.weight = _convolution_weights(outputs, inputs, kernel)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1 / sqrt(inputs * kernel**2)

    def forward(self, x: Tensor, gain: float | None = None) -> Tensor:
        """[N, I, H, W] -> [N, O, H / down, W / down], times `gain` (the activation's own where it is None)."""
        usual = ACTIVATIONS[self.act]
        gain = usual.gain if gain is None else gain
        limit = self.clamp or self.low_clamp
        clamp = limit * gain / usual.gain if limit else None  # a branch at half its power is limited to half
        linear = self.act == "linear" and self.bias is None  # then both gains can ride on the weights, ...
        late = usual.homogeneous and not linear and x.dtype != torch.float16  # ... or else on what follows
        early = self.weight_gain * gain if linear else 1.0 if late else self.weight_gain
        w = (self.weight if early == 1 else self.weight * early).to(x.dtype)
        f = None if self.low_pass is None else self.low_pass(x)
        x = conv2d_resample(x, w, f, down=self.down, padding=w.shape[2] // 2)
        b: Tensor | None = self.bias
        if late:  # act(k u + b) = k act(u + b / k); a float16 convolution of weights that large could overflow
            b, gain = b if b is None else b / self.weight_gain, gain * self.weight_gain
        return bias_act(x, b, act=self.act, gain=1.0 if linear else gain, clamp=clamp)


class Weights(NamedTuple):
    """What a modulated convolution makes of its weights before it looks at any style."""

    w: Tensor  # [O, I, k, k] as they are stored
    low: Tensor  # the same in the type of the activations
    energy: Tensor | None  # sum over k of w^2, [O, I]; None without demodulation


class Conv2DMod(nn.Module):
    """Convolution whose weights are modulated by a style and demodulated (Karras et al. 2020, section 2.2).

    For sample n and output channel o, with style s and stored weight w:

        w'[n,o,i,k]  = s[n,i] * w[o,i,k]                                               equation 1
        w''[n,o,i,k] = w'[n,o,i,k] / sqrt(sum over i,k of w'[n,o,i,k]^2 + epsilon)      equation 3

    That is a grouped convolution, one group a sample: `grouped`. As s multiplies input channels and the root divides
    output channels, the same result comes from one shared convolution of scaled activations: `scaled`, which needs no
    weights per sample. `forward` takes the cheaper of the two by their shapes.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, demodulate: bool = True, up: int = 1) -> None:
        super().__init__()
        self.demodulate, self.up = demodulate, up
        self.low_pass = LowPass() if up > 1 else None
        self.weight = _convolution_weights(outputs, inputs, kernel, transposed=up > 1)
        self.weight_gain = 1 / sqrt(inputs * kernel**2)
        self.folded: Weights | None = None
        self._folded_for = torch.float32  # the type of the activations, if it is

    def forward(
        self,
        x: Tensor,
        style: Tensor,
        noise: Tensor | None = None,
        bias: Tensor | None = None,
        act: str = "linear",
        clamp: float | None = None,
    ) -> Tensor:
        """Convolves, then adds noise and bias, activates and clamps in the same pass as the demodulation.

        Args:
            x: features [N, I, H, W] in any type.
            style: [N, I] in float32.
            noise: [N, 1, H * up, W * up] or [H * up, W * up].
            bias: [O].
            act, clamp: as for `bias_act`.

        Returns:
            [N, O, H * up, W * up] in the type of x.
        """
        x, scale = self.grouped(x, style) if self.prefers_grouped(x) else self.scaled(x, style)
        return scale_bias_act(x, scale, noise, bias, act=act, clamp=clamp)

    def prefers_grouped(self, x: Tensor) -> bool:
        """Whether weights per sample cost less than scaled activations.

        A 1x1 convolution of weights per sample is a batch of matrix products, of which the weights are the smallest
        part. Else one sample needs one set of weights, and scaling that is cheaper when it is smaller than the
        activations. A graph that is exported serves batches of any size.
        """
        O, I, k, _ = self.weight.shape
        N, _, H, W = x.shape
        if k == self.up == 1:
            return True
        if torch.compiler.is_exporting():
            return False
        return N == 1 and O * I * k * k < (I + O * self.up**2) * H * W

    def demodulation(self, energy: Tensor, style: Tensor) -> Tensor:
        """1 / standard deviation of each output [N, O], from the energy of the weights [O, I] and styles [N, I].

        The sums of equation 3 are taken over k first, so that no weights per sample come into being.
        """
        return (style.square() @ energy.t() + DEMODULATION_EPSILON).rsqrt()

    def scaled(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor | None]:
        """Style on the input channels, one convolution for the whole batch; and the scale [N, O] still to apply."""
        _, w, energy = self._prepared(x.dtype)
        style = self._style(x.dtype, style)
        x = self._convolve(scale_bias_act(x, style), w, groups=1)
        return x, self.demodulation(energy, style) if energy is not None else None

    def grouped(self, x: Tensor, style: Tensor) -> tuple[Tensor, None]:
        """The definition: every sample is a group that is convolved with weights of its own; no scale is left."""
        w, _, energy = self._prepared(x.dtype)
        style = self._style(x.dtype, style)
        O, I, k, _ = w.shape
        N, _, H, W = x.shape
        factors = style[:, None, :]  # [N, 1 or O, I]
        if energy is not None:
            factors = factors * self.demodulation(energy, style)[:, :, None]
        w_n = (w * factors[..., None, None]).to(x.dtype)  # [N, O, I, k, k]
        if k == self.up == 1:
            return _multiply(x, w_n.flatten(2)), None
        x = self._convolve(x.reshape(1, N * I, H, W) if N > 1 else x, w_n.reshape(N * O, I, k, k), groups=N)
        return x.reshape(N, O, H * self.up, W * self.up) if N > 1 else x, None

    def fold(self, dtype: torch.dtype) -> None:
        """Prepares the weights once, for inference in this type; until `unfold` they must not change."""
        with torch.no_grad():
            self.folded, self._folded_for = self._weights(dtype), dtype

    def unfold(self) -> None:
        """Forgets what `fold` prepared."""
        self.folded = None

    def _apply(self, fn: Any, recurse: bool = True) -> "Conv2DMod":
        """As every module's, for `to`, `half` and the like: what is folded is prepared anew from the moved weights."""
        super()._apply(fn, recurse)
        if self.folded is not None:
            self.fold(self._folded_for)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.unfold()
        super()._load_from_state_dict(*args, **kwargs)

    def _prepared(self, dtype: torch.dtype) -> Weights:
        """What is folded; or what the weights are now, where nothing is, or where gradients of them are asked for."""
        if self.folded is None or (torch.is_grad_enabled() and self.weight.requires_grad):
            return self._weights(dtype)
        return self.folded

    def _weights(self, dtype: torch.dtype) -> Weights:
        """What the convolutions of any style need.

        In float16 the largest weight of each output is brought to one, which demodulation undoes, so that no product
        overflows (StyleGAN2-ADA, appendix D.1).
        """
        w: Tensor = self.weight
        if self.demodulate and dtype == torch.float16:
            w = w * (self.weight_gain / w.abs().amax(dim=[1, 2, 3], keepdim=True))
        return Weights(w, w.to(dtype), w.square().sum(dim=[2, 3]) if self.demodulate else None)

    def _style(self, dtype: torch.dtype, style: Tensor) -> Tensor:
        """Styles [N, I] with the gain of layers that demodulation does not normalise; in float16 at most one."""
        if not self.demodulate:
            return style * self.weight_gain
        return style / style.abs().amax(dim=1, keepdim=True) if dtype == torch.float16 else style

    def _convolve(self, x: Tensor, w: Tensor, groups: int) -> Tensor:
        # The enlarging layer is a transposed convolution with the stored weights as they are, which in terms of
        # convolution over the enlarged image turns them around.
        f = None if self.low_pass is None else self.low_pass(x)
        padding = w.shape[2] // 2
        return conv2d_resample(x, w, f, up=self.up, padding=padding, groups=groups, flip_weight=self.up == 1)


def _multiply(x: Tensor, w: Tensor) -> Tensor:
    """Every pixel of x [N, I, H, W] times the matrix of its sample w [N, O, I] -> [N, O, H, W], in the layout of x."""
    (N, _, H, W), O = x.shape, w.shape[1]
    if x.is_contiguous(memory_format=torch.channels_last):
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [N, H W, I]
        if missing := -O % _columns(x.device, x.dtype):
            y = torch.bmm(pixels, F.pad(w, [0, 0, 0, missing]).mT)[:, :, :O]
        else:
            y = torch.bmm(pixels, w.mT)
        return y.reshape(N, H, W, O).permute(0, 3, 1, 2)
    return torch.bmm(w, x.flatten(2)).reshape(N, O, H, W)


def _columns(device: torch.device, dtype: torch.dtype) -> int:
    """Of what number the columns of a product should be a multiple.

    cuBLAS uses tensor cores for half precision only where rows begin at multiples of 16 bytes, which three channels are
    not.
    """
    return 8 if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) else 1


class Noise(nn.Module):
    """One picture of noise for all channels, scaled by a learned strength (Karras et al. 2020, section 2.1)."""

    fixed: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("fixed", torch.randn(height, width))

    def forward(self, batch: int, mode: str, generator: torch.Generator | None) -> Tensor | None:
        """Noise for a batch: [N, 1, H, W] with mode `random`, [H, W] with `const`, None with `none`."""
        if mode == "none":
            return None
        if mode == "const":
            return self.fixed * self.strength
        noise = torch.randn(batch, 1, *self.fixed.shape, device=self.fixed.device, generator=generator)
        return noise * self.strength


def minibatch_std(x: Tensor, group: int, epsilon: float = 1e-8) -> Tensor:
    """Appends a map that says how much the samples of a group differ (Karras et al. 2018, section 3).

    The batch is dealt to N / G groups like cards, sample i with i + N / G, i + 2 N / G, ...; the standard deviation
    over a group is averaged over channels and positions. Of a batch that `group` does not divide, the largest
    divisor of N up to `group` is taken.

    Args:
        x: features [N, C, H, W].
        group: samples in a group, G; at most N are taken.

    Returns:
        [N, C + 1, H, W].
    """
    N, C, H, W = x.shape
    G = next(g for g in range(min(group, max(N, 1)), 0, -1) if N % g == 0)
    y = x.reshape(G, -1, C, H, W)  # [G, N / G, C, H, W]
    y = (y - y.mean(dim=0)).square().mean(dim=0)  # [N / G, C, H, W]; several times as fast as `var`
    y = (y + epsilon).sqrt().mean(dim=[1, 2, 3])  # [N / G]
    y = y.repeat(G).reshape(N, 1, 1, 1).expand(N, 1, H, W)
    return torch.cat([x, y], dim=1)
