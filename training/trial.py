"""Faster ways to run phases, `--compile` and `--cuda-graphs`, each tried before training, and given up if it fails.

A compiler may give wrong numbers without an error (pytorch #167313), and does not support double backward, so phases
that need it stay eager. A phase is some thousand kernels, and the host needs longer to start them one by one than a
fast GPU needs to run them. A CUDA graph starts all at once, on the same memory, so its inputs have buffers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from torch_utils import distributed
from torch_utils.device import Precision, switches
from training.config import RunConfig
from training.courses import outline
from training.phase import Phase, Term
from training.recipe import Change, Draws, Pictures, Recipe

# Gradients are compared with those in fp32, as norms of differences relative to the norm of the fp32 gradient. The
# error of a gradient is the sum of independent roundings of 1e5 numbers or more, so two correct ways of rounding have
# errors of nearly the same norm, and a compiler that leaves roundings out has a smaller one: measured in bf16 on a CPU,
# compiled passes were 0.99 to 1.12 times as far off as eager ones, which were 2.7 to 11 % off. A fault adds to that.
MARGIN = 1.5
SLACK: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-3, "bf16": 5e-3, "fp16": 1e-3}  # sums in another order
WARM_UPS = 3  # runs before the capture, in which libraries choose their algorithms and allocate
ROUNDS = 3  # CUDA graphs of `torch.compile` are recorded in the second and replayed in the third


def check_passes(config: RunConfig) -> None:
    """Raises ValueError if --compile or --cuda-graphs does not apply to a model."""
    for option, wish in (("--compile", config.compile), ("--cuda-graphs", config.cuda_graphs)):
        if wish and not any(phase.first_order for phase in outline(config).phases):
            raise ValueError(f"{option} does not apply to {config.model}: leave it out")


def try_out(recipe: Recipe, option: str, change: Callable[[], None], undo: Callable[[], None], how: str) -> str:
    """Change a recipe if the changed one works and its gradients are as near to fp32 as before; return a sentence.

    Networks, averages and gradients are afterwards as before. `how` is a part of the sentence: "run compiled".
    """
    reason, config = "", recipe.config
    networks: set[Any] = {phase.network for phase in recipe.phases}
    with recipe.undisturbed(), distributed.alone():
        try:
            usual, exact = gradients(recipe), {}
            if config.arithmetic != "fp32":
                _set_precision(networks, "fp32")
                with switches("fp32", config.deterministic):
                    exact = gradients(recipe)
                _set_precision(networks, config.arithmetic)
            change()
            _compare(gradients(recipe), usual, exact, SLACK[config.arithmetic])
        except Exception as error:  # whatever a compiler or a driver may raise
            cause = getattr(error, "inner_exception", error)
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            _set_precision(networks, config.arithmetic)
    if distributed.least(int(not reason)):
        return f"{' and '.join(phase.name for phase in recipe.phases if phase.first_order)} {how}"
    undo()
    return f"{option} does not work here ({reason or 'in another process'}): training continues without it"


def _set_precision(networks: set[Any], precision: Precision) -> None:
    for network in networks:
        network.set_precision(precision)


def gradients(recipe: Recipe) -> dict[str, Tensor]:
    """The gradients of all parameters in a row, by phase, after `ROUNDS` rounds of different inputs."""
    found, pace = {}, recipe.config.pace
    for phase in (p for p in recipe.phases if p.first_order):
        try:
            rounds = (recipe.terms(phase, *inputs(recipe, phase, number)) for number in range(ROUNDS))
            phase.differentiate(rounds, pace.batch // pace.batch_gpu)  # scaled as captured phases are
            each = [torch.zeros_like(p) if p.grad is None else p.grad for p in phase.parameters]
            found[phase.name] = torch.cat([gradient.flatten() for gradient in each])
        finally:
            phase.network.requires_grad_(False)
            phase.network.zero_grad(set_to_none=not phase.owns_gradients)
    return found


def inputs(recipe: Recipe, phase: Phase, number: int) -> tuple[Any, Draws]:
    """A batch and draws for one round; another number gives others."""
    config, device = recipe.config, phase.skips.device
    shape, count = config.shape, config.pace.batch_gpu
    size = (count, shape.channels, shape.height, shape.width)
    pixels = torch.randint(256, size, generator=torch.Generator().manual_seed(number), dtype=torch.uint8).to(device)
    pictures = Pictures(pixels, torch.zeros(count, dtype=torch.int64, device=device))
    batch = recipe.batch(*[pictures] * len(config.sets))
    return batch, Draws(config.seed, number, phase.name, count, 0, count, device)


def _compare(found: dict[str, Tensor], usual: dict[str, Tensor], exact: dict[str, Tensor], slack: float) -> None:
    for name, gradient in found.items():
        goal = exact.get(name, usual[name])
        off, allowed = (float((g - goal).norm() / goal.norm()) for g in (gradient, usual[name]))
        if not off <= MARGIN * allowed + slack:  # also for nan
            beside = f" (without it {allowed:.1%})" if exact else ""
            raise ValueError(f"its gradients of {name} are {off:.1%} off{beside}")


def compile_passes(recipe: Recipe, backend: str = "inductor") -> str:
    """Give a recipe compiled passes, unless they fail or compute something else; return a sentence about it."""
    graphs = recipe.phases[0].skips.device.type == "cuda" and backend == "inductor"
    # CUDA graphs: the host starts a whole pass at once. Compilation happens at the first call.
    mode = "reduce-overhead" if graphs else None
    compiled = partial(torch.compile, backend=backend, mode=mode, dynamic=False)

    def use(change: Change | None, owned: bool) -> None:
        recipe.use_passes(change)
        for phase in recipe.phases:
            phase.owns_gradients = owned
            phase.begin = torch.compiler.cudagraph_mark_step_begin if owned else lambda: None

    return try_out(recipe, "--compile", partial(use, compiled, graphs), partial(use, None, False), "run compiled")


class CudaGraph:
    """A function of buffers, captured by CUDA. It must neither wait for the device nor draw random numbers."""

    def __init__(self, function: Callable[[], list[Term]], pool: Any) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream):
            self._outputs = function()

    def replay(self) -> list[Term]:
        self._graph.replay()
        return self._outputs


class HeldDraws:
    """Draws that keep their memory: `renew` draws the next part's numbers into the tensors that were handed out."""

    def __init__(self, draws: Draws) -> None:
        self._source = draws
        self._held: dict[tuple[Any, ...], Any] = {}

    def renew(self, draws: Draws) -> None:
        self._source = draws
        for (method, *arguments), held in self._held.items():
            new = getattr(draws, method)(*arguments)
            for tensor, drawn in zip(held, new, strict=True) if isinstance(held, list) else [(held, new)]:
                tensor.copy_(drawn) if isinstance(drawn, Tensor) else tensor.fill_(drawn)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        return partial(self._hold, name) if callable(found) else found

    def _hold(self, method: str, *arguments: Any) -> Any:
        key = (method, *(tuple(map(tuple, each)) if isinstance(each, list) else each for each in arguments))
        if key not in self._held:
            drawn = getattr(self._source, method)(*arguments)
            if isinstance(drawn, float):
                raise RuntimeError(f"a captured phase draws {arguments[0]!r} on the host, where a graph cannot draw it")
            self._held[key] = drawn if isinstance(drawn, list) else torch.as_tensor(drawn, device=self.device)
        return self._held[key]


class Captured:
    """One phase on one part of a batch, differentiated: captured at the first call by `capture`, replayed at each."""

    def __init__(self, recipe: Recipe, phase: Phase, scale: float, capture: Callable[..., Any]) -> None:
        self._recipe, self._phase, self._scale, self._capture = recipe, phase, scale, capture
        self._graph: Any = None

    def __call__(self, batch: Any, draws: Draws) -> Iterator[Term]:
        """The terms of the phase, whose gradients the replay has added already."""
        if self._graph is None:
            self._batch = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, batch)
            self._draws: Any = HeldDraws(draws)
            self._graph = self._capture(self._differentiate)
        for held, new in zip(tree_leaves(self._batch), tree_leaves(batch), strict=False):
            if isinstance(new, Tensor):  # not if the phase reads no images
                held.copy_(new)
        self._draws.renew(draws)
        return iter(self._graph.replay())

    def _differentiate(self) -> list[Term]:
        terms: list[Term] = []
        for loss, reports in self._recipe.losses(self._phase, self._batch, self._draws):
            (loss * self._scale).backward()
            terms.append((loss.detach(), {name: values.detach() for name, values in reports.items()}))
        return terms


def capture_phases(recipe: Recipe, capture: Callable[..., Any] = CudaGraph) -> str:
    """Let a recipe replay captured phases, if that works and gives the same gradients; return a sentence about it.

    Its batches are tuples of tensors. `capture` makes a graph of a function, and of memory that graphs share.
    """
    if distributed.world() > 1:
        return "--cuda-graphs works in one process only: training continues without it"
    pace = recipe.config.pace
    count = pace.batch // pace.batch_gpu  # rounds, over which gradients are averaged

    def change() -> None:
        pool = torch.cuda.graph_pool_handle() if capture is CudaGraph else None
        for phase in recipe.phases:
            phase.owns_gradients = True
        for phase in (p for p in recipe.phases if p.first_order):
            phase.replay = captured = Captured(recipe, phase, phase.interval / count, partial(capture, pool=pool))
            # Captured within `differentiate`, where parameters require gradients; these gradients are discarded.
            phase.differentiate((captured(*inputs(recipe, phase, 0)) for _ in range(1)), count)

    def undo() -> None:
        for phase in recipe.phases:
            phase.owns_gradients, phase.replay = False, None
            phase.network.zero_grad(set_to_none=True)

    return try_out(recipe, "--cuda-graphs", change, undo, "run as CUDA graphs")
