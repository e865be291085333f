"""How a step is taken: one network, one optimizer, one group of losses, every few iterations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from system.private import is_fake
from torch_utils import distributed
from torch_utils.distributed import GradientExchange
from torch_utils.stats import Collector, Some
from training.rates import Rate, constant

Term = tuple[Tensor, Mapping[str, Tensor | Some]]  # a scalar to differentiate, and its statistics

SKIPS_TO_STOP = 10


@dataclass
class Phase:
    """A named training step.

    Args:
        name: of the phase, in statistics.
        network: its parameters require gradients during the step only.
        optimizer: Adam, AdamW or alike; its parameters learn, the others of the network are frozen. Phases may share
            an optimizer.
        interval: iterations between steps.
        reads_images: whether the losses need real images.
        terms: scalars that the losses of one round yield.
        rate: factor of the learning rate by images seen.
        clip: largest norm of the gradients; larger gradients are scaled down (Pascanu et al. 2013).
        owns_gradients: add gradients to buffers that outlive the step: a replayed CUDA graph overwrites its own.
        replays: the terms come from a replayed CUDA graph, which has differentiated them already.
    """

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    interval: int = 1
    reads_images: bool = False
    terms: int = 1
    rate: Rate = constant
    clip: float = float("inf")
    owns_gradients: bool = False
    replays: bool = False
    skips: Tensor = field(init=False)  # int32: [steps skipped, skipped in a row now, longest such row]

    def __post_init__(self) -> None:
        device = next(self.network.parameters()).device
        self.skips = torch.zeros(3, dtype=torch.int32, device=device)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def due(self, iteration: int) -> bool:
        """Whether the phase takes a step in an iteration."""
        return iteration % self.interval == 0

    def step(self, rounds: Iterable[Iterator[Term]], count: int, collector: Collector, seen: int = 0) -> None:
        """Average the gradients of `count` rounds over rounds and processes, and step once.

        Args:
            rounds: the terms of each round. Each term is differentiated before the next is asked for, so that only one
                term's activations are in memory.
            count: of rounds.
            collector: takes the statistics.
            seen: images before this iteration.
        """
        exchange = GradientExchange(self.parameters) if distributed.world() > 1 else None
        self.differentiate(rounds, count, collector, exchange)
        gradients = [_gradient(p) for p in self.parameters]
        if exchange is not None:
            exchange.finish()
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        collector.add(f"gradients/{self.name}", norm)
        if self.clip < float("inf"):
            collector.add(f"clipped/{self.name}", (norm > self.clip).float())
            torch._foreach_mul_(gradients, (self.clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate(seen)
        self._step_if_finite(norm)

    def differentiate(
        self,
        rounds: Iterable[Iterator[Term]],
        count: int,
        collector: Collector | None = None,
        exchange: GradientExchange | None = None,
    ) -> None:
        """Give the parameters the gradients of `count` rounds, averaged over the rounds.

        Losses are multiplied by `interval` to make up for running only every `interval` iterations. `exchange` begins
        during the last backward pass.
        """
        self.optimizer.zero_grad(set_to_none=not self.owns_gradients)
        if exchange is not None:
            exchange.prepare()
        elif self.owns_gradients:
            for parameter in self.parameters:
                _gradient(parameter)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        for number, terms in enumerate(rounds, 1):
            found = 0
            for found, (loss, reports) in enumerate(terms, 1):
                if exchange is not None and number == count and found == self.terms:
                    exchange.begin()
                if not self.replays:
                    (loss * (self.interval / count)).backward()
                if collector is not None:
                    collector.add_all(reports)
            assert found == self.terms, f"{self.name} yields {found} terms in a round, not {self.terms}"
        self.network.requires_grad_(False)

    def _step_if_finite(self, norm: Tensor) -> None:
        """Step unless a gradient is infinite or nan. A fused Adam decides that on the device, without a wait."""
        bad = ~norm.isfinite()
        if bad.device.type != "mps" and all(group.get("fused") for group in self.optimizer.param_groups):
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif is_fake(bad) or not bad.item():  # a step without data only shows the memory of the moments
            self.optimizer.step()
        total, row, longest = self.skips.unbind()
        row = (row + 1) * bad
        self.skips = torch.stack([total + bad, row, torch.maximum(longest, row)])

    def skipped(self) -> int:
        """The number of steps skipped so far; waits for the device."""
        return int(self.skips[0])

    def check(self, advice: str) -> None:
        """Look for rows of skipped steps since the last look; waits for the device.

        Raises:
            FloatingPointError: ten steps in a row were skipped; the message ends with `advice`.
        """
        longest = int(self.skips[2])
        self.skips[2] = self.skips[1] if longest < SKIPS_TO_STOP else 0
        if longest >= SKIPS_TO_STOP:
            raise FloatingPointError(
                f"the gradients of {self.name} were infinite or nan {longest} times in a row: training has diverged; "
                f"start again from an earlier network with {advice}"
            )


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient, zero for a parameter that no loss reaches: Adam's moments of it fade all the same."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
