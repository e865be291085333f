"""How long a run will take, said after its first steps, when there is time to start it differently."""

import time
from collections.abc import Callable, Sequence

import torch

from training.report.status import duration

STEPS, SECONDS = 16, 10.0  # 16 iterations hold every phase in its usual share; slow steps are measured for 10 seconds
SHORT = 60.0  # seconds; a shorter run is not worth a forecast
LONG = 86400.0  # seconds on a CPU after which cheaper ways are named


class Forecast:
    """Says once how fast the first steps were, and when the run will end at that speed.

    Args:
        device: that trains.
        cheaper: ways to a cheaper run, as in `Signs`.
        say: prints a line.
    """

    def __init__(self, device: torch.device, cheaper: Sequence[str], say: Callable[[str], None]) -> None:
        self.device, self.cheaper, self.say = device, cheaper, say
        self._start: tuple[float, int] | None = None  # time and images after the first step, which is slower
        self._steps, self._said = 0, False

    def step(self, seen: int, end: int) -> None:
        """Take note of a step. `seen` counts the images so far, `end` all images of the run."""
        if self._said:
            return
        if self._start is None:
            self._start = self._now(), seen
            return
        self._steps += 1
        moment, before = self._start
        if self._steps < STEPS and time.monotonic() - moment < SECONDS:
            return
        self._said = True
        speed = (seen - before) / max(self._now() - moment, 1e-9)
        left = (end - seen) / speed
        if left < SHORT:
            return
        self.say(f"about {duration(left)} to kimg {end / 1000:g}, at {speed:.3g} images a second")
        if self.device.type == "cpu" and left > LONG:
            kimg = float(f"{(seen + speed * LONG) / 1000:.2g}")
            ways = ["a GPU", *self.cheaper, f"an earlier end (--kimg {kimg:g} takes a day)"]
            self.say(f"a CPU is too slow for this run: stop it with Ctrl-C, and take {', or '.join(ways)}")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()
