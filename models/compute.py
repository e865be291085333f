"""Layers whose large products have a number format of their own.

Weights, residual streams, norms and embeddings stay in float32. `set_compute` chooses the format of the products.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_utils.device import Precision

COMPUTE: dict[Precision, torch.dtype | None] = {"bf16": torch.bfloat16, "fp16": torch.float16}

Network = TypeVar("Network", bound=nn.Module)


class Linear(nn.Linear):
    """A fully connected layer with a type of its own for the product."""

    compute: torch.dtype | None = None  # None: that of the weights

    def forward(self, input: Tensor) -> Tensor:
        if self.compute is None:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.to(self.compute)
        return F.linear(input.to(self.compute), self.weight.to(self.compute), bias)


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
