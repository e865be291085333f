"""Protects methods that choose their own number formats from `torch.autocast` around them."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

_P = ParamSpec("_P")

_UNKNOWN = ("meta",)  # device types without autocast, for which PyTorch raises


def own_precision(forward: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Decorate a method: autocast is off in it and in its backward pass.

    The device is the device of the first tensor among the arguments. Without autocast the method is called unchanged,
    so exported and compiled graphs are not affected.
    """

    @functools.wraps(forward)
    def sheltered(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = given[0].device.type if given else "meta"
        if device in _UNKNOWN or not torch.is_autocast_enabled(device):
            return forward(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            out = forward(*args, **kwargs)
        if not torch.compiler.is_compiling():
            _shelter_gradients(out, given, device)
        return out

    return sheltered


def _shelter_gradients(out: Tensor, inputs: list[Tensor], device: str) -> None:
    """Turn autocast off in every node of the graph from `inputs` to `out`.

    The engine restores the state of the thread after each node, so every node needs a hook.
    """

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
