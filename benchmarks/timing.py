"""How long calls take, on the CPU and on devices that run asynchronously.

On CUDA, kernels of some microseconds that Python starts one by one wait for Python, so a clock around them times
Python. Therefore calls are captured in a CUDA graph and timed by events: each replay holds as many calls as fill BLOCK.
Before every call a write of FLUSH bytes replaces the content of the cache; the time of the writes is subtracted.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import torch

BLOCK = 0.02  # seconds of a replay
MOST_CALLS = 1000  # in a replay
FLUSH = 2**28  # bytes, more than the last-level cache of any GPU


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, with all that it started on the device."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def timings(calls: Mapping[str, Callable[[int], Any]], iterations: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each call over rounds in which all take turns. The first round is not counted.

    Args:
        calls: get the number of the round.
        iterations: rounds that are counted.
        device: where the calls compute.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for iteration in range(iterations + 1):
        for name, call in calls.items():
            duration = timed(partial(call, iteration), device)
            if iteration:
                seconds[name].append(duration)
    return {name: median(durations) for name, durations in seconds.items()}


def fastest(call: Callable[[], Any], budget: float, device: torch.device) -> float:
    """The shortest duration of a call among as many as fit into `budget` seconds, after two calls to warm up.

    On CUDA, of three replays of many calls, without the time of Python.
    """
    if device.type == "cuda":
        with own_stream(device):
            return min(graph_seconds(call, device) for _ in range(3))
    call()
    call()
    end, best = time.perf_counter() + budget, float("inf")
    while best == float("inf") or time.perf_counter() < end:
        best = min(best, timed(call, device))
    return best


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Compute on a CUDA stream that can be captured. Does nothing on other devices.

    PyTorch differentiates on the stream of the forward pass, so the forward pass must be computed in here, too.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


def graph_seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Mean seconds of a call on a CUDA device, within `own_stream`. The time of Python is left out if possible."""
    for _ in range(3):  # libraries choose their algorithms and allocate
        call()
    count = min(max(math.ceil(BLOCK / max(_event_seconds(call), 1e-6)), 1), MOST_CALLS)
    room = torch.empty(FLUSH, dtype=torch.uint8, device=device)
    try:
        both, flushes = (_captured(run, count) for run in (lambda: (room.zero_(), call()), room.zero_))
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        warnings.warn(f"not captured in a CUDA graph, so the time of Python is included: {reason}", stacklevel=2)
        return _event_seconds(lambda: [call() for _ in range(count)]) / count
    return max(_event_seconds(both.replay) - _event_seconds(flushes.replay), 1e-9) / count


def _captured(call: Callable[[], Any], count: int) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(count):
            call()
    graph.replay()  # the first replay uploads it
    return graph


def _event_seconds(run: Callable[[], Any]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3
