"""Activation checkpointing: values are computed a second time in the backward pass instead of being kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def call(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """Return function(*inputs). With `recompute`, only the inputs are kept for the backward pass.

    Gradients are equal to the last bit, including second derivatives. `function` must be deterministic: pass random
    numbers as tensors.
    """
    if not (recompute and torch.is_grad_enabled()):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
