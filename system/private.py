"""Interfaces of PyTorch that are not public, each with a fallback where one is possible."""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN has instructions for bfloat16 on this CPU; True if PyTorch does not say."""
    return getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)()


def storage_key(storage: torch.UntypedStorage) -> int:
    """Return a number that all tensors with the same memory share."""
    return storage._cdata


def is_fake(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a shape and no data."""
    return isinstance(tensor, FakeTensor)


def needs_gradient(node: Any) -> bool:
    """Whether the running backward pass computes the gradient of a graph node; True if PyTorch does not say."""
    try:
        return torch._C._will_engine_execute_node(node)
    except (RuntimeError, AttributeError):  # a leaf, or another version of PyTorch
        return True
