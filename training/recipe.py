"""The interface between the training loop and a model: recipes, averages of networks, and their saved state."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from models.sampler import Sampler
from torch_utils import seeds
from torch_utils.checkpoint import check_alike, check_keys
from training.phase import Phase, Term
from training.sheet import Sheet

Network = TypeVar("Network", bound=nn.Module)
Change = Callable[[Callable[..., Any]], Callable[..., Any]]


class Pictures(NamedTuple):
    """A part of a batch, from one image set."""

    pixels: Tensor  # uint8 [n, C, H, W]
    labels: Tensor  # class numbers, int64 [n]; 0 without classes


@dataclass(frozen=True)
class Draws:
    """The draws for samples start ... stop - 1 of a batch: those of one process in one round.

    Results do not depend on the number of processes and rounds: all are drawn for the whole batch and sliced, or with a
    stream per sample; only `pictures` are drawn for the slice.
    """

    seed: int
    iteration: int
    phase: str
    batch: int
    start: int
    stop: int
    device: torch.device

    def latents(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal numbers [stop - start, *shape]."""
        return self._sliced(torch.randn, purpose, *shape)

    def uniforms(self, purpose: str, *shape: int) -> Tensor:
        """Numbers in [0, 1), [stop - start, *shape]."""
        return self._sliced(torch.rand, purpose, *shape)

    def classes(self, purpose: str, thresholds: Tensor) -> Tensor:
        """Class numbers [stop - start]. `thresholds` are cumulative frequencies, float32 [classes]."""
        u = self._sliced(torch.rand, purpose).float() * thresholds[-1]
        return torch.searchsorted(thresholds, u, right=True).clamp(max=len(thresholds) - 1)

    def uniform(self, purpose: str) -> float:
        """One number in [0, 1) for the whole batch, on the host."""
        return seeds.derive(self.seed, self.iteration, self.phase, purpose) / 2**63

    def normal(self, purpose: str, shape: torch.Size) -> Tensor:
        """Standard normal numbers [N, ...] for the first N samples of this part, without memory for the whole batch."""
        generators = [self._generator(purpose, self.start + i) for i in range(shape[0])]
        return torch.stack([torch.randn(shape[1:], device=self.device, generator=each) for each in generators])

    def pictures(self, purpose: str, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Standard normal numbers of several shapes, from one generator for this part: the noise inputs of layers."""
        generator = self._generator(purpose, self.start)
        return [torch.randn(*shape, device=self.device, generator=generator) for shape in shapes]

    def crossover(self, layers: int, probability: float) -> int | Tensor:
        """First layers with their own style: all, or with `probability` 1 to `layers` - 1 (Karras et al. 2019, 3.1)."""
        if self.uniform("mix") >= probability:
            return layers
        return 1 + int(self.uniform("crossover") * (layers - 1))

    def _sliced(self, draw: Callable[..., Tensor], purpose: str, *shape: int) -> Tensor:
        whole = draw(self.batch, *shape, device=self.device, generator=self._generator(purpose))
        return whole[self.start : self.stop]

    def _generator(self, purpose: str, *more: int) -> torch.Generator:
        return seeds.generator(self.device, self.seed, self.iteration, self.phase, purpose, *more)


class Average(Generic[Network]):
    """A moving average of a network in training, itself a `network`; buffers are copied.

    `half_life` is in images, and limited to a share `ramp` of the images seen, unless that is 0.
    """

    def __init__(self, network: Network, half_life: float, ramp: float = 0.0) -> None:
        self.network = copy.deepcopy(network).eval()
        self.half_life, self.ramp = half_life, ramp
        # Listed once: to collect the tensors takes longer than to average a small network.
        self._averaged: list[Tensor] = list(self.network.parameters())
        self._learned: list[Tensor] = list(network.parameters())
        self._buffers = list(self.network.buffers()), list(network.buffers())

    @torch.no_grad()
    def update(self, batch: int, seen: int) -> None:
        """Average in the network after an iteration of `batch` images, `seen` images into the run."""
        beta = ema_beta(batch, seen, self.half_life, self.ramp)
        torch._foreach_lerp_(self._averaged, self._learned, 1 - beta)
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)


def ema_beta(batch: int, seen: int, half_life: float, ramp: float) -> float:
    """The share of the old average that one iteration keeps, in [0, 1) (Karras et al. 2018, appendix A)."""
    if ramp:
        half_life = min(half_life, seen * ramp)
    return 0.5 ** (batch / max(half_life, 1e-8))


class Recipe:
    """A model in training: its networks, the phases in which they learn, and the losses of each phase.

    A model's own class sets `config`, `phases`, `networks` and `optimizers`, and defines `batch` and `losses`.
    """

    config: Any  # a resolved RunConfig
    phases: Sequence[Phase] = ()  # in the order of their steps
    networks: Mapping[str, nn.Module]  # of a network file, by name
    optimizers: Mapping[str, torch.optim.Optimizer]  # of each network that learns, by the name of the network
    averages: Sequence[Average[Any]] = ()
    added: frozenset[str] = frozenset()  # keys of the state that earlier versions lack

    def batch(self, *sets: Pictures) -> Any:
        """Convert pictures, one part from each image set, to the form that `losses` takes."""
        raise NotImplementedError

    def losses(self, phase: Phase, batch: Any, draws: Draws) -> Iterator[Term]:
        """Yield scalars to differentiate one after the other; `batch` is None for a phase that reads no images."""
        raise NotImplementedError

    def terms(self, phase: Phase, batch: Any, draws: Draws) -> Iterator[Term]:
        """The losses of a phase, or the replay of its CUDA graph."""
        return phase.replay(batch, draws) if phase.replay else self.losses(phase, batch, draws)

    def after_step(self, seen: int) -> None:
        """Update averages and the like, once an iteration; `seen` counts the images before the iteration."""
        for average in self.averages:
            average.update(self.config.pace.batch, seen)

    def judged(self) -> Sampler | None:
        """The sampler of the pictures that metrics judge; None if the model makes no pictures."""
        return None

    def show(self, sheet: Sheet) -> Iterator[Tensor] | None:
        """The pictures of a sample sheet, uint8 [C, H, W] on the CPU, row by row; None if the model makes none."""
        return None

    def measure(self) -> Mapping[str, float]:
        """Statistics of a snapshot for the report, such as {"held out/style": 0.3}. Only rank 0 calls it."""
        return {}

    def use_passes(self, change: Change | None) -> None:
        """Put `change(pass)` in place of each pass of the networks; None restores them."""
        raise NotImplementedError

    def undisturbed(self) -> AbstractContextManager[None]:
        """Within the block losses may be computed; after it, everything that they change is as before."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changes, as a nest of tensors and numbers. A model adds what is its own."""
        return {
            "networks": {name: dict(network.state_dict()) for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in self.optimizers.items()},
            "skips": {phase.name: phase.skips for phase in self.phases},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict` exactly. The recipe shares no memory with `state` afterwards."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            load_moments(optimizer, state["optimizers"][name])
        for phase in self.phases:
            phase.skips = state["skips"][phase.name].to(phase.skips.device, copy=True)

    def check_state(self, state: Any, begun: bool) -> None:
        """Check the state in a file against this recipe, which may be on the meta device.

        Before the run has `begun`, optimizers are empty. Raises ValueError if anything differs or is not finite.
        """
        model = self.state_dict()
        if isinstance(state, dict):
            model = {name: value for name, value in model.items() if name in state or name not in self.added}
        check_keys(state, model, "recipe")
        optimizers = state["optimizers"]
        check_keys(optimizers, model.pop("optimizers"), "recipe.optimizers")
        check_alike({name: state[name] for name in model}, model, "recipe")
        for name, optimizer in self.optimizers.items():
            if begun or optimizers[name] != {}:
                check_moments(optimizer, optimizers[name], f"recipe.optimizers.{name}")
        for name in model.keys() - {"networks", "skips"}:
            if isinstance(state[name], Tensor) and not bool(state[name].isfinite().all()):
                raise ValueError(f"recipe.{name} is not finite")
        if any(bool((skips < 0).any()) for skips in state["skips"].values()):
            raise ValueError("recipe.skips has a count below 0")


def placed(network: Network, device: torch.device) -> Network:
    """The network on the device, with parameters that need no gradients until a phase begins."""
    if any(parameter.device != device for parameter in network.parameters()):
        network = network.to(device)  # fails for fake tensors, which are on the device already
    return network.requires_grad_(False)


def check_moments(optimizer: torch.optim.Optimizer, saved: Any, name: str) -> None:
    """Check moments of Adam or AdamW from a file: the fused Adam trusts their shapes.

    Raises ValueError if a number, shape or dtype differs, a step is not a whole number, or a second moment is negative.
    """
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    step = torch.zeros([], device="cpu")
    check_alike(saved, {i: {"step": step, "exp_avg": p, "exp_avg_sq": p} for i, p in enumerate(learning)}, name)
    for i, moments in saved.items():
        steps = float(moments["step"])
        if not (steps >= 0 and steps.is_integer()):
            raise ValueError(f"{name}.{i}.step is {steps:g}, expected a whole number of at least 0")
        if not bool((moments["exp_avg_sq"] >= 0).all()):
            raise ValueError(f"{name}.{i}.exp_avg_sq has a number that is not at least 0")


def load_moments(optimizer: torch.optim.Optimizer, saved: dict[int, dict[str, Tensor]]) -> None:
    """Copy moments, by the number of their parameter, into the memory layout of the parameter.

    Files keep the plain layout, but the fused Adam ignores strides. `saved` is empty if no step was taken yet.
    """
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved, "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            fitting = moment.shape == parameter.shape
            moments[name] = torch.empty_like(parameter).copy_(moment) if fitting else moment.clone()
