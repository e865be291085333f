"""Durations of calls, on devices that work on while the host goes ahead, and what they say of training."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.device import own_stream, seconds


@dataclass(frozen=True)
class Times:
    """Of the phases of training and of sampling, for one batch, in seconds."""

    batch: int
    phase_seconds: dict[str, float]
    phase_intervals: dict[str, int]  # a phase is due once in so many iterations
    sample_seconds: float
    peak_bytes: int

    @property
    def train_speed(self) -> float:
        """Images a second in a mean iteration."""
        return self.batch / sum(t / self.phase_intervals[name] for name, t in self.phase_seconds.items())

    @property
    def sample_speed(self) -> float:
        """Images a second."""
        return self.batch / self.sample_seconds


def fastest(call: Callable[[], Any], budget: float, device: torch.device) -> float:
    """The shortest duration of a call among as many as fit into a budget of seconds, after two that warm it up.

    On CUDA of some replays of many calls, without the host's time.
    """
    if device.type == "cuda":
        with own_stream(device):
            return min(seconds(call, device) for _ in range(3))
    call()
    call()
    end, best = time.perf_counter() + budget, float("inf")
    while best == float("inf") or time.perf_counter() < end:
        best = min(best, timed(call, device))
    return best


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, with all that it started on the device."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
