"""How long calls take, on the CPU and on devices that run asynchronously."""

import importlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch


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

    On CUDA, Triton measures: it clears the cache before each call, and Python starts the call in the meantime.
    """
    if device.type == "cuda":
        triton = importlib.import_module("triton.testing")
        return triton.do_bench(call, rep=int(budget * 1e3), return_mode="min") / 1e3
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
