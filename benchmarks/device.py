"""Seconds of a call on a CUDA device, without those of the host: captured in a CUDA graph, replayed, timed by events.

Started one by one from Python, kernels of some microseconds wait for the host, and a clock around them times Python. A
graph starts them at once. Each replay holds as many calls as fill BLOCK, and before every call a write of FLUSH bytes
replaces what the cache holds; the time of the writes alone is subtracted.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

BLOCK = 0.02  # seconds of a replay
MOST_CALLS = 1000  # in a replay
FLUSH = 2**28  # bytes, more than the last cache of any GPU


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Computes on a stream that can be captured; elsewhere than on CUDA nothing changes.

    What is differentiated later must have been computed here too, as PyTorch differentiates on the stream of the
    forward pass.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Mean seconds of a call on a CUDA device, within `own_stream`; of its kernels alone where it can be captured."""
    for _ in range(3):  # libraries choose their algorithms and allocate
        call()
    once = _timed(call)
    count = min(max(math.ceil(BLOCK / max(once, 1e-6)), 1), MOST_CALLS)
    room = torch.empty(FLUSH, dtype=torch.uint8, device=device)
    try:
        both, flushes = (_captured(run, count) for run in (lambda: (room.zero_(), call()), room.zero_))
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        warnings.warn(f"not captured in a CUDA graph, so the host's time is included: {reason}", stacklevel=2)
        return _timed(lambda: [call() for _ in range(count)]) / count
    return max(_timed(both.replay) - _timed(flushes.replay), 1e-9) / count


def _captured(call: Callable[[], Any], count: int) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(count):
            call()
    graph.replay()  # the first replay uploads it
    return graph


def _timed(run: Callable[[], Any]) -> float:
    """Seconds between two events, by the clock of the device."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3
