"""How a step is taken: one network, one optimizer, one group of losses, every few iterations."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from system.private import is_fake
from torch_utils import distributed
from torch_utils.distributed import GradientExchange
from torch_utils.stats import Collector, Some

Term = tuple[Tensor, Mapping[str, Tensor | Some]]  # a scalar to differentiate, and its statistics
Rate = Callable[[int], float]  # images seen -> factor of the learning rate, so a resumed run needs nothing more

SKIPS_TO_STOP = 10


def warm_up(images: int) -> Rate:
    """Linear growth from 0 to 1 over the first `images` images (Goyal et al. 2017, section 2.2)."""
    return lambda seen: min(seen / images, 1.0) if images else 1.0


def inverse_time(decay: float, batch: int) -> Rate:
    """1 / (1 + decay t), t iterations of `batch` images (Huang and Belongie 2017, in the code of the paper)."""
    return lambda seen: 1.0 / (1.0 + decay * seen / batch)


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: matrices and kernels decay, vectors (biases, gains of norms) do not."""
    learned = list(network.parameters())
    return [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]


@dataclass
class Phase:
    """A named training step of one network, whose parameters require gradients during the step only."""

    name: str  # in statistics
    network: nn.Module
    optimizer: torch.optim.Optimizer  # its parameters learn, the network's others are frozen; phases may share it
    interval: int = 1  # iterations between steps
    reads_images: bool = False  # whether the losses need real images
    terms: int = 1  # scalars that the losses of one round yield
    first_order: bool = False  # whether the losses need first derivatives only, so that --compile may change them
    rate: Rate = lambda seen: 1.0
    clip: float = float("inf")  # largest norm of the gradients; larger ones are scaled down (Pascanu et al. 2013)
    owns_gradients: bool = False  # add gradients to buffers that outlive the step: a CUDA graph overwrites its own
    begin: Callable[[], object] = lambda: None  # called before each term: outputs of the last may be overwritten
    replay: Callable[[Any, Any], Iterator[Term]] | None = None  # in place of losses: a graph that differentiates them
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

    def step(self, rounds: Iterable[Iterator[Term]], count: int, collector: Collector, seen: int = 0) -> None:
        """Average the gradients of `count` rounds over rounds and processes, and step once.

        Each term is differentiated before the next is asked for, so that only one term's activations are in memory.
        `collector` takes the statistics; `seen` counts the images before this iteration.
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
        self, rounds: Iterable[Iterator[Term]], count: int, collector: Any = None, exchange: Any = None
    ) -> None:
        """Give the parameters the gradients of `count` rounds, averaged over the rounds; `exchange` begins in the last.

        Losses are multiplied by `interval`, since they run only every `interval` iterations.
        """
        self.optimizer.zero_grad(set_to_none=not self.owns_gradients)
        if exchange is not None:
            exchange.prepare()
        for parameter in self.parameters:
            parameter.requires_grad_(True)
            if self.owns_gradients and exchange is None:
                _gradient(parameter)
        for number, terms in enumerate(rounds, 1):
            found = 0
            self.begin()
            for found, (loss, reports) in enumerate(terms, 1):
                if exchange is not None and number == count and found == self.terms:
                    exchange.begin()
                if self.replay is None:
                    (loss * (self.interval / count)).backward()
                if collector is not None:
                    collector.add_all(reports)
                self.begin()
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
        """Raises FloatingPointError, with `advice`, if ten steps in a row were skipped; waits for the device."""
        longest = int(self.skips[2])
        self.skips[2] = self.skips[1] if longest < SKIPS_TO_STOP else 0
        if longest >= SKIPS_TO_STOP:
            why = f"the gradients of {self.name} were infinite or nan {longest} times in a row: training has diverged"
            raise FloatingPointError(f"{why}; start again from an earlier network with {advice}")


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient, zero for a parameter that no loss reaches: Adam's moments of it fade all the same."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
