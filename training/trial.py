"""`--compile`, and the trial of a faster way to run phases before training begins.

`--compile` and `--cuda-graphs` may fail on a machine, and a compiler may give wrong numbers without an error (pytorch
#167313). So both are tried first, and given up if anything is wrong. `torch.compile` does not support double backward,
so phases that need it stay eager.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from torch_utils import distributed
from torch_utils.device import Precision, switches
from training.config import RunConfig
from training.courses import outline
from training.draws import Draws
from training.phase import Phase
from training.recipe import Pictures, Recipe

# Gradients are compared with those in fp32, as norms of differences relative to the norm of the fp32 gradient. The
# error of a gradient is the sum of independent roundings of 1e5 numbers or more, so two correct ways of rounding have
# errors of nearly the same norm, and a compiler that leaves roundings out has a smaller one: measured in bf16 on a CPU,
# compiled passes were 0.99 to 1.12 times as far off as eager ones, which were 2.7 to 11 % off. A fault adds to that.
MARGIN = 1.5
SLACK: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-3, "bf16": 5e-3, "fp16": 1e-3}  # sums in another order
ROUNDS = 3  # CUDA graphs of `torch.compile` are recorded in the second and replayed in the third

Change = Callable[[Callable[..., Any]], Callable[..., Any]]


@runtime_checkable
class Compilable(Recipe, Protocol):
    """A recipe whose networks can run compiled in some phases."""

    @property
    def config(self) -> RunConfig: ...
    @property
    def first_order(self) -> frozenset[str]:
        """Phases that need first derivatives only."""

    def use_passes(self, change: Change | None, begin: Callable[[], None] = lambda: None) -> None:
        """Put `change(pass)` in place of each pass of the networks; None restores them. `begin` precedes each term."""

    def undisturbed(self) -> AbstractContextManager[None]:
        """Within the block losses may be computed; after it, everything that they change is as before."""


@runtime_checkable
class Capturable(Compilable, Protocol):
    """A recipe with phases that can be captured as CUDA graphs. Batches are dataclasses of tensors."""

    @property
    def captured(self) -> dict[str, Callable[..., Any]]:
        """By the name of a phase: takes the place of `terms`."""

    def terms(self, phase: Phase, batch: Any, draws: Any) -> Any:
        """The losses of a phase that is not captured."""


def check_passes(config: RunConfig) -> None:
    """Raises ValueError if --compile or --cuda-graphs does not apply to a model."""
    for option, wish, kind in (
        ("--compile", config.compile, Compilable),
        ("--cuda-graphs", config.cuda_graphs, Capturable),
    ):
        if wish and not isinstance(outline(config), kind):
            raise ValueError(f"{option} does not apply to {config.model}: leave it out")


def try_out(recipe: Compilable, option: str, change: Callable[[], None], undo: Callable[[], None], how: str) -> str:
    """Change a recipe if the changed one works and its gradients are as near to fp32 as before.

    Networks, averages and gradients are afterwards as before.

    Args:
        recipe: with its networks on their device.
        option: of train.py, for the sentence.
        change: makes the recipe run its phases in the other way.
        undo: takes that back.
        how: "run compiled".

    Returns:
        A sentence for the log.
    """
    reason = ""
    with recipe.undisturbed(), distributed.alone():
        try:
            usual, exact = gradients(recipe), _exact_gradients(recipe)
            change()
            _compare(gradients(recipe), usual, exact, SLACK[recipe.config.arithmetic])
        except Exception as error:  # whatever a compiler or a driver may raise
            cause = getattr(error, "inner_exception", error)
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if distributed.least(int(not reason)):
        return f"{' and '.join(phase.name for phase in first_order(recipe))} {how}"
    undo()
    return f"{option} does not work here ({reason or 'in another process'}): training continues without it"


def first_order(recipe: Compilable) -> list[Phase]:
    """The phases that need first derivatives only, in their order."""
    return [phase for phase in recipe.phases if phase.name in recipe.first_order]


def gradients(recipe: Compilable) -> dict[str, Tensor]:
    """The gradients of all parameters in a row, by phase, after `ROUNDS` rounds of different inputs."""
    return {phase.name: _gradient(recipe, phase) for phase in first_order(recipe)}


def _exact_gradients(recipe: Compilable) -> dict[str, Tensor]:
    """The same in fp32 without TF32; empty if the recipe computes in fp32 anyway."""
    config, networks = recipe.config, {phase.network for phase in recipe.phases}
    if config.arithmetic == "fp32":
        return {}
    try:
        _set_precision(networks, "fp32")
        with switches("fp32", config.deterministic):
            return gradients(recipe)
    finally:
        _set_precision(networks, config.arithmetic)


def _set_precision(networks: set[Any], precision: Precision) -> None:
    for network in networks:
        network.set_precision(precision)


def inputs(recipe: Compilable, phase: Phase, number: int) -> tuple[Any, Draws]:
    """A batch and draws for one round; another number gives others."""
    config, device = recipe.config, phase.skips.device
    shape, count = config.shape, config.pace.batch_gpu
    size = (count, shape.channels, shape.height, shape.width)
    pixels = torch.randint(256, size, generator=torch.Generator().manual_seed(number), dtype=torch.uint8).to(device)
    pictures = Pictures(pixels, torch.zeros(count, dtype=torch.int64, device=device))
    batch = recipe.batch(*[pictures] * len(config.sets))
    return batch, Draws(config.seed, number, phase.name, count, 0, count, device)


def _gradient(recipe: Compilable, phase: Phase) -> Tensor:
    """Scaled as captured phases are, whose number of rounds is fixed."""
    try:
        rounds = (recipe.losses(phase, *inputs(recipe, phase, number)) for number in range(ROUNDS))
        phase.differentiate(rounds, recipe.config.pace.batch // recipe.config.pace.batch_gpu)
        return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in phase.parameters])
    finally:
        phase.network.requires_grad_(False)
        phase.network.zero_grad(set_to_none=not phase.owns_gradients)


def _compare(found: dict[str, Tensor], usual: dict[str, Tensor], exact: dict[str, Tensor], slack: float) -> None:
    for name, gradient in found.items():
        goal = exact.get(name, usual[name])
        off, allowed = (float((g - goal).norm() / goal.norm()) for g in (gradient, usual[name]))
        if not off <= MARGIN * allowed + slack:  # also for nan
            beside = f" (without it {allowed:.1%})" if exact else ""
            raise ValueError(f"its gradients of {name} are {off:.1%} off{beside}")


def compile_passes(recipe: Compilable, backend: str = "inductor") -> str:
    """Give a recipe compiled passes, unless they fail or compute something else; return a sentence about it.

    Networks, averages and gradients are afterwards as before.
    """
    graphs = recipe.phases[0].skips.device.type == "cuda" and backend == "inductor"

    def change() -> None:
        # CUDA graphs: the host starts a whole pass at once. Compilation happens at the first call.
        mode = "reduce-overhead" if graphs else None
        compiled = partial(torch.compile, backend=backend, mode=mode, dynamic=False)
        recipe.use_passes(compiled, torch.compiler.cudagraph_mark_step_begin if graphs else lambda: None)
        for phase in recipe.phases:
            phase.owns_gradients = graphs

    def undo() -> None:
        recipe.use_passes(None)
        for phase in recipe.phases:
            phase.owns_gradients = False

    return try_out(recipe, "--compile", change, undo, "run compiled")
