"""`--cuda-graphs`: phases captured whole, forward and backward, and replayed with new inputs.

A phase is some thousand kernels, and the host needs longer to start them one by one than a fast GPU needs to run them.
A CUDA graph starts all of them at once, and reads and writes the same memory each time. So draws, real images and
classes are copied into buffers that the graph reads, gradients are added to buffers, and statistics are read after each
replay.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from torch_utils import distributed
from training.draws import Draws
from training.phase import Phase, Term
from training.trial import Capturable, first_order, inputs, try_out

WARM_UPS = 3  # runs before the capture, in which libraries choose their algorithms and allocate


class CapturedGraph(Protocol):
    """A captured function, whose outputs keep their memory."""

    def replay(self) -> list[Term]:
        """Compute the outputs again from the present contents of the inputs."""


class CudaGraph:
    """A function captured by CUDA. It must neither wait for the device nor draw random numbers.

    Args:
        function: takes its inputs from buffers.
        pool: memory shared with graphs that are never replayed at the same time.
    """

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
        """Take the numbers of other draws of the same shapes."""
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
    """One phase on one part of a batch, differentiated: captured at the first call, replayed at each."""

    def __init__(
        self,
        recipe: Capturable,
        phase: Phase,
        scale: float,
        capture: Callable[[Callable[[], list[Term]]], CapturedGraph],
    ) -> None:
        self._recipe, self._phase, self._scale, self._capture = recipe, phase, scale, capture
        self._graph: CapturedGraph | None = None

    def __call__(self, batch: Any, draws: Draws) -> Iterator[Term]:
        """The terms of the phase, whose gradients the replay has added already."""
        if self._graph is None:
            self._batch = batch and replace(batch, **{name: tensor.clone() for name, tensor in _tensors(batch)})
            self._draws = HeldDraws(draws)
            self._graph = self._capture(self._differentiate)
        if batch is not None:
            for (_, held), (_, new) in zip(_tensors(self._batch), _tensors(batch), strict=True):
                held.copy_(new)
        self._draws.renew(draws)
        return iter(self._graph.replay())

    def _differentiate(self) -> list[Term]:
        terms: list[Term] = []
        for loss, reports in self._recipe.terms(self._phase, self._batch, self._draws):
            (loss * self._scale).backward()
            terms.append((loss.detach(), {name: values.detach() for name, values in reports.items()}))
        return terms


def _tensors(batch: Any) -> list[tuple[str, Tensor]]:
    found = ((field.name, getattr(batch, field.name)) for field in fields(batch))
    return [(name, value) for name, value in found if isinstance(value, Tensor)]


def capture_phases(recipe: Capturable, capture: Callable[..., CapturedGraph] = CudaGraph) -> str:
    """Let a recipe replay captured phases, if that works and gives the same gradients; return a sentence about it.

    Networks, averages and gradients are afterwards as before.

    Args:
        recipe: with its networks on a CUDA device.
        capture: makes a graph of a function and a pool.
    """
    if distributed.world() > 1:
        return "--cuda-graphs works in one process only: training continues without it"
    pace = recipe.config.pace
    count = pace.batch // pace.batch_gpu  # rounds, over which gradients are averaged

    def change() -> None:
        pool = torch.cuda.graph_pool_handle() if capture is CudaGraph else None
        for phase in recipe.phases:
            phase.owns_gradients = True
        for phase in first_order(recipe):
            captured = Captured(recipe, phase, phase.interval / count, lambda run: capture(run, pool))
            recipe.captured[phase.name], phase.replays = captured, True
            # Captured within `differentiate`, where parameters require gradients; these gradients are discarded.
            phase.differentiate((captured(*inputs(recipe, phase, 0)) for _ in range(1)), count)

    def undo() -> None:
        recipe.captured.clear()
        for phase in recipe.phases:
            phase.owns_gradients = phase.replays = False
            phase.network.zero_grad(set_to_none=True)

    return try_out(recipe, "--cuda-graphs", change, undo, "run as CUDA graphs")
