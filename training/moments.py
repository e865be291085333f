"""The moments of Adam and AdamW: checked and loaded from a file."""

from typing import Any

import torch
from torch import Tensor

from torch_utils.checkpoint import check_alike


def check_moments(optimizer: torch.optim.Optimizer, saved: Any, name: str) -> None:
    """Check that moments from a file fit an optimizer's parameters: the fused Adam trusts their shapes.

    Raises:
        ValueError: a number, shape or dtype differs, a step is not a whole number of at least 0, or a second moment is
            below 0.
    """
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    step = torch.zeros([], device="cpu")
    model = {i: {"step": step, "exp_avg": p, "exp_avg_sq": p} for i, p in enumerate(learning)}
    check_alike(saved, model, name)
    for i, moments in saved.items():
        steps = float(moments["step"])
        if not (steps >= 0 and steps.is_integer()):
            raise ValueError(f"{name}.{i}.step is {steps:g}, expected a whole number of at least 0")
        if not bool((moments["exp_avg_sq"] >= 0).all()):
            raise ValueError(f"{name}.{i}.exp_avg_sq has a number that is not at least 0")


def load_moments(optimizer: torch.optim.Optimizer, saved: dict[int, dict[str, Tensor]]) -> None:
    """Copy moments, by the number of their parameter, into the memory layout of the parameter.

    Files keep the plain layout, but the fused Adam ignores strides. `saved` is empty if no step was taken yet.

    Raises:
        ValueError: as `check_moments`.
    """
    if saved:
        check_moments(optimizer, saved, "moments")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved, "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            fitting = moment.shape == parameter.shape
            moments[name] = torch.empty_like(parameter).copy_(moment) if fitting else moment.clone()
