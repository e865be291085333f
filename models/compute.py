"""Layers whose large products have a number format of their own.

Weights, residual streams, norms and embeddings stay in float32. `set_compute` chooses the format of the products.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_utils.device import Precision

COMPUTE: dict[Precision, torch.dtype | None] = {"bf16": torch.bfloat16, "fp16": torch.float16}

PACKED = (torch.float32, torch.bfloat16)  # types for which oneDNN has products on a CPU

Network = TypeVar("Network", bound=nn.Module)


class Linear(nn.Linear):
    """A fully connected layer with a type of its own for the product."""

    compute: torch.dtype | None = None  # None: that of the weights
    fixed: tuple[Tensor, Tensor | None] | None = None  # weight and bias within `fixed_weights`

    def forward(self, input: Tensor, gelu: bool = False) -> Tensor:
        """The product; with `gelu` through GELU in its tanh form (Hendrycks and Gimpel 2016)."""
        weight, bias = self.fixed or (self.weight, self.bias)
        if weight.is_mkldnn:
            after = ("gelu", (), "tanh") if gelu else ("none", (), "")
            return torch.ops.mkldnn._linear_pointwise(input.to(weight.dtype), weight, bias, *after)
        if self.compute is not None:
            input, weight = input.to(self.compute), weight.to(self.compute)
            bias = None if bias is None else bias.to(self.compute)
        out = F.linear(input, weight, bias)
        return F.gelu(out, approximate="tanh") if gelu else out


class Conv2d(nn.Conv2d):
    """A convolution with a type of its own for the product."""

    compute: torch.dtype | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.compute is None:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.to(self.compute)
        return self._conv_forward(input.to(self.compute), self.weight.to(self.compute), bias)


def set_compute(network: Network, precision: Precision) -> Network:
    """Choose the type of all large products of a network; returns the network."""
    for module in network.modules():
        if hasattr(module, "compute"):
            module.compute = COMPUTE.get(precision)  # type: ignore[assignment]
    return network


@contextmanager
def fixed_weights(*networks: Any) -> Iterator[None]:
    """Within the block the weights of `Linear` layers stay as they are, and nothing is differentiated.

    So they are converted once: to the type of the product, and on a CPU to the layout that oneDNN multiplies fastest.
    """
    layers = [m for net in networks if isinstance(net, nn.Module) for m in net.modules() if isinstance(m, Linear)]
    for layer in layers:
        layer.fixed = _fixed(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.fixed = None


@torch.no_grad()
def _fixed(layer: Linear) -> tuple[Tensor, Tensor | None]:
    weight, bias = (None if p is None else p.to(layer.compute or p.dtype) for p in (layer.weight, layer.bias))
    assert weight is not None
    if weight.device.type == "cpu" and weight.dtype in PACKED and torch.backends.mkldnn.is_available():
        weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return weight, bias
