"""Forward passes: number formats of their own within `torch.autocast`, and activation checkpointing."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_P = ParamSpec("_P")


def own_precision(forward: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Decorate a method: autocast is off in it and in its backward pass, on the device of its first tensor.

    Without autocast the method is called unchanged, so exported and compiled graphs are not affected.
    """

    @functools.wraps(forward)
    def sheltered(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = given[0].device.type if given else "meta"
        if device == "meta" or not torch.is_autocast_enabled(device):
            return forward(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            out = forward(*args, **kwargs)
        if not torch.compiler.is_compiling():
            _shelter_gradients(out, given, device)
        return out

    return sheltered


def _shelter_gradients(out: Tensor, inputs: list[Tensor], device: str) -> None:
    """Turn autocast off in every node of the graph from `inputs` to `out`: the engine restores the state after each."""

    def turn_off(gradients: Any) -> None:
        torch.set_autocast_enabled(device, False)

    seen = {None, *(tensor.grad_fn for tensor in inputs)}
    waiting = [out.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen or node is None or hasattr(node, "variable"):  # nodes of parameters outlive the graph
            continue
        seen.add(node)
        node.register_prehook(turn_off)
        waiting += [following for following, _ in node.next_functions]


def call(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """Return function(*inputs). With `recompute`, only the inputs are kept; the backward pass computes the rest again.

    Gradients are equal to the last bit, including second derivatives. `function` must be deterministic: pass random
    numbers as tensors.
    """
    if not (recompute and torch.is_grad_enabled()):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
