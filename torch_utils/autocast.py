"""Shelter from the mixed precision of a host program: `torch.autocast` around a call does not reach into it."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

_P = ParamSpec("_P")

_UNKNOWN = ("meta",)  # device types that know no autocast, and raise when they are asked


def own_precision(forward: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Decorates a method that chooses its number formats itself: autocast is off within it and within its gradients.

    The device is that of the first tensor among the arguments. Where autocast is off nothing is done, so exported and
    compiled graphs show no trace of this.
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
    """Turns autocast off for every node of the graph from `inputs` to `out`, for a backward pass under autocast.

    The engine restores the state of the thread after each node, so each node turns it off for itself.
    """

    def turn_off(gradients: Any) -> None:
        torch.set_autocast_enabled(device, False)

    seen = {None, *(tensor.grad_fn for tensor in inputs)}
    waiting = [out.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen or node is None or hasattr(node, "variable"):  # the last are parameters, which outlive graphs
            continue
        seen.add(node)
        node.register_prehook(turn_off)
        waiting += [following for following, _ in node.next_functions]
