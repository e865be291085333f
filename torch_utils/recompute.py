"""Memory for time: values that are computed a second time when they are needed, instead of being kept till then."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def call(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """function(*inputs). With `recompute`, of all that gradients will need only the inputs are kept.

    Gradients are the same to the last bit, second derivatives included. `function` must give the same each time it is
    called: what is random comes in as a tensor. Without gradients nothing is kept anyway, and nothing changes.
    """
    if not (recompute and torch.is_grad_enabled()):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
