"""Measures the parts of a step without making the host wait for the device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Collects durations by name, measured by events on CUDA and by the clock on other devices."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: dict[str, list[float]] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of the block under `name`."""
        if self.device.type == "cuda":
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            yield
            last.record()
            self._events.append((name, first, last))
        else:
            start = time.perf_counter()
            yield
            self._seconds.setdefault(name, []).append(time.perf_counter() - start)

    def read(self) -> dict[str, float]:
        """Return mean seconds by name since the last reading. Waits for the device."""
        if self._events:
            torch.cuda.synchronize(self.device)
        for name, first, last in self._events:
            self._seconds.setdefault(name, []).append(first.elapsed_time(last) / 1000)
        means = {name: sum(seconds) / len(seconds) for name, seconds in self._seconds.items()}
        self._events, self._seconds = [], {}
        return means
