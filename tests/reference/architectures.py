"""Generators and discriminators of the three architectures of Karras et al. 2020 (figure 7), written out in float64.

Tensors go by the official names. Nothing of the networks that are tested is used: resampling is by zeros between the
pixels and the filter's sixteen products, weights are modulated sample by sample, one after another.

Letters: N batch, C channels, H W size.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = dict[str, Tensor]

_TAPS = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
_FILTER = _TAPS[:, None] * _TAPS / 64


def generated(t: Tensors, w: Tensor, architecture: str, size: int) -> Tensor:
    """The images of w [N, L, D] with the stored noise: `skip`, `resnet` or `orig`."""
    t = {name: tensor.double() for name, tensor in t.items()}
    w = w.double()
    x, image, layer = t["synthesis.b4.const"].expand(len(w), -1, -1, -1), None, 0
    for r in _sizes(size):
        block, entering = f"synthesis.b{r}", x
        for name in ("conv0", "conv1") if r > 4 else ("conv1",):
            x = _styled(t, f"{block}.{name}", x, w[:, layer], up=name == "conv0")
            layer += 1
        if architecture == "resnet" and r > 4:
            shortcut = _enlarged(F.conv2d(entering, t[f"{block}.skip.weight"] / sqrt(entering.shape[1])))
            x = sqrt(0.5) * shortcut + sqrt(0.5) * x
        if architecture == "skip" or r == size:
            rgb = _rgb(t, f"{block}.torgb", x, w[:, layer])
            image = rgb if image is None else _enlarged(image) + rgb
    assert image is not None
    return image


def judged(t: Tensors, images: Tensor, architecture: str, group: int) -> Tensor:
    """The scores [N, 1] of images [N, C, H, W] without classes: `skip`, `resnet` or `orig`."""
    t = {name: tensor.double() for name, tensor in t.items()}
    image = images.double()
    x = _activated(t, f"b{image.shape[2]}.fromrgb", image)
    for r in reversed(_sizes(image.shape[2])[1:]):
        if architecture == "skip":
            x = x if r == images.shape[2] else x + _activated(t, f"b{r}.fromrgb", image)
            image = _reduced(image)
        y = _activated(t, f"b{r}.conv1", _activated(t, f"b{r}.conv0", x), down=True)
        if architecture == "resnet":
            y = sqrt(0.5) * y + sqrt(0.5) * F.conv2d(_reduced(x), t[f"b{r}.skip.weight"] / sqrt(x.shape[1]))
        x = y
    if architecture == "skip":
        x = x + _activated(t, "b4.fromrgb", image)
    x = _activated(t, "b4.conv", _with_deviation(x, group)).flatten(1)
    x = F.leaky_relu(x @ t["b4.fc.weight"].T / sqrt(x.shape[1]) + t["b4.fc.bias"], 0.2) * sqrt(2)
    return x @ t["b4.out.weight"].T / sqrt(x.shape[1]) + t["b4.out.bias"]


def _sizes(top: int) -> list[int]:
    return [4 << k for k in range((top // 4).bit_length())]


def _styled(t: Tensors, name: str, x: Tensor, w: Tensor, up: bool) -> Tensor:
    """Weights modulated and demodulated, the stored noise, bias and leaky ReLU."""
    style = w @ t[f"{name}.affine.weight"].T / sqrt(w.shape[1]) + t[f"{name}.affine.bias"]
    found = []
    for sample, s in zip(x, style, strict=True):
        own = t[f"{name}.weight"] * s[None, :, None, None]
        own = own / (own.square().sum(dim=[1, 2, 3], keepdim=True) + 1e-8).sqrt()
        if up:
            sample = _filtered(F.conv_transpose2d(sample[None], own.transpose(0, 1), stride=2), [1, 1, 1, 1]) * 4
        else:
            sample = F.conv2d(sample[None], own, padding=1)
        found.append(sample)
    y = torch.cat(found) + t[f"{name}.noise_const"] * t[f"{name}.noise_strength"]
    return F.leaky_relu(y + t[f"{name}.bias"][:, None, None], 0.2) * sqrt(2)


def _rgb(t: Tensors, name: str, x: Tensor, w: Tensor) -> Tensor:
    style = w @ t[f"{name}.affine.weight"].T / sqrt(w.shape[1]) + t[f"{name}.affine.bias"]
    x = x * style[:, :, None, None] / sqrt(x.shape[1])
    return F.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"])


def _activated(t: Tensors, name: str, x: Tensor, down: bool = False) -> Tensor:
    weight = t[f"{name}.weight"]
    weight = weight / sqrt(weight[0].numel())
    if down:
        x = F.conv2d(_filtered(x, [2, 2, 2, 2]), weight, t[f"{name}.bias"], stride=2)
    else:
        x = F.conv2d(x, weight, t[f"{name}.bias"], padding=weight.shape[2] // 2)
    return F.leaky_relu(x, 0.2) * sqrt(2)


def _with_deviation(x: Tensor, group: int) -> Tensor:
    N, C, H, W = x.shape
    y = x.reshape(min(group, N), -1, C, H, W)
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=[1, 2, 3])
    return torch.cat([x, y.repeat(min(group, N))[:, None, None, None].expand(-1, -1, H, W)], dim=1)


def _spread(x: Tensor) -> Tensor:
    """Zeros between the pixels, and after the last of each row and column: [N, C, 2 H, 2 W]."""
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    y[:, :, ::2, ::2] = x
    return y


def _filtered(x: Tensor, sides: list[int]) -> Tensor:
    kernel = _FILTER.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, sides), kernel, groups=x.shape[1])


def _enlarged(x: Tensor) -> Tensor:
    return _filtered(_spread(x), [2, 1, 2, 1]) * 4


def _reduced(x: Tensor) -> Tensor:
    return _filtered(x, [1, 1, 1, 1])[:, :, ::2, ::2]
