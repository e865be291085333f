"""HOW a step is taken: one network, one optimiser, one group of losses, every so many iterations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torch_utils import distributed
from torch_utils.checkpoint import check_alike
from torch_utils.stats import Collector

Term = tuple[Tensor, Mapping[str, Tensor]]  # a scalar to differentiate, and what to report of it

SKIPS_TO_STOP = 10


def check_moments(optimizer: torch.optim.Adam, saved: Any, name: str) -> None:
    """Makes sure that moments out of a file are those of an optimizer's parameters: the fused Adam trusts their shapes.

    Raises:
        ValueError: for a number, shape or type that differs, a step that is not a whole number of at least 0, or a
            second moment below 0.
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


def load_moments(optimizer: torch.optim.Adam, saved: dict[int, dict[str, Tensor]]) -> None:
    """Takes up the moments of each parameter, by its number, in the memory layout of the parameter.

    Files keep the plain layout, and the fused Adam pairs numbers by their place in memory without looking at strides.
    Nothing that is taken up shares memory with what is saved. Raises ValueError as `check_moments` does; of an
    optimizer that has not stepped yet there are none.
    """
    if saved:
        check_moments(optimizer, saved, "moments")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved, "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            fitting = moment.shape == parameter.shape
            moments[name] = torch.empty_like(parameter).copy_(moment) if fitting else moment.clone()


@dataclass
class Phase:
    """A named step: what `optimizer` holds of `network` learns once every `interval` iterations."""

    name: str
    network: nn.Module
    optimizer: torch.optim.Adam
    interval: int = 1
    reads_images: bool = False  # whether its losses look at real images
    owns_gradients: bool = False  # adds gradients to memory that stays: CUDA graphs overwrite their own, and add to it
    replays: bool = False  # the terms are those of a replayed CUDA graph, which has differentiated them
    skips: Tensor = field(init=False)  # [steps skipped, skipped in a row, longest such row]

    def __post_init__(self) -> None:
        device = next(self.network.parameters()).device
        self.skips = torch.zeros(3, dtype=torch.int32, device=device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that learn; the others of the network are frozen."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def due(self, iteration: int) -> bool:
        return iteration % self.interval == 0

    def step(self, rounds: Iterable[Iterator[Term]], count: int, collector: Collector) -> None:
        """Differentiates the terms of each of `count` rounds, averages over rounds and processes, and steps once.

        Every term is differentiated before the next is asked for, so that only one term's activations are alive. Losses
        count `interval` times, since they are looked at so much more rarely.
        """
        self.differentiate(rounds, count, collector)
        gradients = [_gradient(p) for p in self.parameters]
        distributed.mean_(gradients)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        collector.add(f"gradients/{self.name}", norm)
        self._step_if_finite(norm)

    def differentiate(self, rounds: Iterable[Iterator[Term]], count: int, collector: Collector | None = None) -> None:
        """Gives the parameters that learn the gradients of the terms of `count` rounds, averaged over the rounds."""
        self.optimizer.zero_grad(set_to_none=not self.owns_gradients)
        if self.owns_gradients:
            for parameter in self.parameters:
                _gradient(parameter)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        for terms in rounds:
            for loss, reports in terms:
                if not self.replays:
                    (loss * (self.interval / count)).backward()
                if collector is not None:
                    collector.add_all(reports)
        self.network.requires_grad_(False)

    def _step_if_finite(self, norm: Tensor) -> None:
        """Steps unless a gradient is infinite or nan. The device decides, so that the host need not wait for it."""
        bad = ~norm.isfinite()
        if bad.device.type != "mps":
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # honoured by the fused Adam
            self.optimizer.step()
        elif not bad.item():  # where the fused Adam takes no such hint, the host has to wait
            self.optimizer.step()
        total, row, longest = self.skips.unbind()
        row = (row + 1) * bad
        self.skips = torch.stack([total + bad, row, torch.maximum(longest, row)])

    def skipped(self) -> int:
        """How many steps have been skipped so far; waits for the device."""
        return int(self.skips[0])

    def check(self) -> None:
        """Looks for rows of skipped steps since the last look; waits for the device.

        Raises:
            FloatingPointError: when ten in a row were skipped.
        """
        longest = int(self.skips[2])
        self.skips[2] = self.skips[1] if longest < SKIPS_TO_STOP else 0
        if longest >= SKIPS_TO_STOP:
            raise FloatingPointError(
                f"the gradients of {self.name} were infinite or nan {longest} times in a row: training has diverged; "
                f"go on from an earlier network with --transfer and a larger --gamma or a smaller learning rate"
            )


def _gradient(parameter: nn.Parameter) -> Tensor:
    """A parameter that the losses do not reach has a gradient of zero: Adam's memory of it fades all the same."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
