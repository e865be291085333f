"""The layers of StyleGAN2. Letters: N batch, I input and O output channels, H W size, k kernel, D width of w.

Equalized learning rate (Karras et al. 2018, 4.1): weights have unit variance and are scaled by 1 / sqrt(fan_in) in use.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from custom_ops import ACTIVATIONS, bias_act, conv2d_resample, setup_filter


def blur(device: torch.device | str = "cpu") -> Tensor:
    """The low-pass filter of every resampling layer, [4, 4] with sum 1: a binomial (Zhang 2019). It is never meta."""
    with torch.inference_mode(False):  # training uses it, too
        return setup_filter((1, 3, 3, 1), device="cpu" if torch.device(device).type == "meta" else device)


class LowPass(nn.Module):
    """`blur` as a buffer that moves with the network and is not saved."""

    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taps", blur(torch.empty([]).device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The filter on the device of x, which may differ from its own if the network's tensors were assigned."""
        return self.taps if self.taps.device == x.device else self.taps.to(x.device)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.taps = blur(self.taps.device)  # `to_empty` leaves random numbers, and files hold none


def pixel_norm(x: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Scale vectors [N, D] to unit mean square (Karras et al. 2018, section 4.2)."""
    return x * (x.square().mean(dim=1, keepdim=True) + epsilon).rsqrt()


def memory_format(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions run fastest, for any dtype. cuDNN copies operands of another format."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def drawn(*shape: int, divisor: float = 1.0) -> Tensor:
    """Normal numbers, divided; on the meta device no numbers, since PyTorch takes a second to prepare drawing there."""
    unfilled = torch.empty(shape)
    if unfilled.is_meta:
        return unfilled
    return torch.randn(shape) if divisor == 1 else torch.randn(shape) / divisor


def convolution_weights(outputs: int, inputs: int, kernel: int, transposed: bool = False) -> nn.Parameter:
    """[O, I, k, k] in channels last; for a transposed convolution, which takes [I, O, k, k], channels last of that."""
    w = drawn(outputs, inputs, kernel, kernel)
    if transposed:
        return nn.Parameter(w.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1))
    return nn.Parameter(w.contiguous(memory_format=torch.channels_last))


class FullyConnected(nn.Module):
    """Fully connected layer with equalized learning rate: act(x W^T + b). `bias_init` is the bias before training.

    `lr_multiplier` is a factor of this layer's learning rate, 0.01 in mapping networks (Karras et al. 2019, C).
    """

    def __init__(
        self, inputs: int, outputs: int, act: str = "linear", lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.act = act
        self.weight = nn.Parameter(drawn(outputs, inputs, divisor=lr_multiplier))
        self.bias = nn.Parameter(torch.full([outputs], bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs]."""
        x = x * self.weight_gain  # equal to scaling the weights, but smaller
        b = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        if self.act == "linear":
            return torch.addmm(b, x, self.weight.t())
        return bias_act(x @ self.weight.t(), b, act=self.act)


class Conv2D(nn.Module):
    """Convolution with equalized learning rate, optional halving of the size, bias and activation."""

    low_clamp: float = 0.0  # limit of activations if `clamp` sets none; set_precision changes it

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
        self.weight = convolution_weights(outputs, inputs, kernel)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1 / sqrt(inputs * kernel**2)

    def forward(self, x: Tensor, gain: float | None = None) -> Tensor:
        """[N, I, H, W] -> [N, O, H / down, W / down], times `gain` (by default the activation's own)."""
        _, usual = ACTIVATIONS[self.act]
        gain = usual if gain is None else gain
        limit = self.clamp or self.low_clamp
        clamp = limit * gain / usual if limit else None  # scaled like the output
        linear = self.act == "linear" and self.bias is None  # then the weights take both gains
        late = not linear and x.dtype != torch.float16  # else the activation takes them
        early = self.weight_gain * gain if linear else 1.0 if late else self.weight_gain
        w = (self.weight if early == 1 else self.weight * early).to(x.dtype)
        f = None if self.low_pass is None else self.low_pass(x)
        x = conv2d_resample(x, w, f, down=self.down, padding=w.shape[2] // 2)
        b: Tensor | None = self.bias
        if late:  # act(k u + b) = k act(u + b / k)
            b, gain = b if b is None else b / self.weight_gain, gain * self.weight_gain
        return bias_act(x, b, act=self.act, gain=1.0 if linear else gain, clamp=clamp)


class Noise(nn.Module):
    """Noise shared by all channels, scaled by a learned strength (Karras et al. 2020, section 2.1)."""

    fixed: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("fixed", drawn(height, width))

    def forward(self, batch: int, mode: str, generator: torch.Generator | None) -> Tensor | None:
        """Noise for a batch: [N, 1, H, W] with mode `random`, [H, W] with `const`, None with `none`."""
        if mode == "none":
            return None
        if mode == "const":
            return self.fixed * self.strength
        noise = torch.randn(batch, 1, *self.fixed.shape, device=self.fixed.device, generator=generator)
        return noise * self.strength


def minibatch_std(x: Tensor, group: int, epsilon: float = 1e-8) -> Tensor:
    """Append a map of the standard deviation within groups of samples (Karras et al. 2018, section 3).

    Features [N, C, H, W] -> [N, C + 1, H, W]. Sample i shares a group of G with i + N / G, i + 2 N / G, ...; the
    deviation is averaged over channels and positions. If `group` does not divide N, G is the next smaller divisor.
    """
    N, C, H, W = x.shape
    G = next(g for g in range(min(group, max(N, 1)), 0, -1) if N % g == 0)
    y = x.reshape(G, -1, C, H, W)  # [G, N / G, C, H, W]
    y = (y - y.mean(dim=0)).square().mean(dim=0)  # [N / G, C, H, W]; several times faster than `var`
    y = (y + epsilon).sqrt().mean(dim=[1, 2, 3])  # [N / G]
    y = y.repeat(G).reshape(N, 1, 1, 1).expand(N, 1, H, W)
    return torch.cat([x, y], dim=1)
