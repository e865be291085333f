"""The status line of a tick, the forecast after the first steps, and durations in words."""

import time
from collections.abc import Callable, Mapping

import torch

from torch_utils.stats import Moments

STEPS, SECONDS = 16, 10.0  # 16 iterations hold every phase in its usual share; slow steps are measured for 10 seconds
SHORT = 60.0  # seconds; a shorter run is not worth a forecast
LONG = 86400.0  # seconds on a CPU after which cheaper ways are named


def status_line(
    seen: int,
    end: int,
    speed: float,
    moments: Mapping[str, Moments],
    facts: Mapping[str, float],
    shown: Mapping[str, str],
) -> str:
    """The status line. `speed` is in images a second; `shown` names statistics and their short forms."""
    parts = [
        f"kimg {seen / 1000:<8.{1 if end >= 10_000 else 3}f}",
        f"time {duration(facts['time/seconds']):<11}",
        f"sec/kimg {1000 / speed:<8.2f}",
        f"img/s {speed:<7.1f}",
        f"ETA {duration(max(end - seen, 0) / speed):<11}",
        f"mem {facts['memory/peak bytes'] / 2**30:.1f}G ",
    ]
    parts += [f"{short} {moments[name].mean:<7.3f}" for name, short in shown.items() if name in moments]
    if facts["steps skipped"]:
        parts.append(f"skipped {facts['steps skipped']:.0f}")
    return " ".join(parts).rstrip()


def duration(seconds: float) -> str:
    """3725 -> 1h 02m 05s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02d}h {minutes:02d}m"
    return f"{hours}h {minutes:02d}m {rest:02d}s" if hours else f"{minutes}m {rest:02d}s"


class Forecast:
    """Says once how fast the first steps were, and when the run will end at that speed.

    Args:
        device: that trains.
        smaller: a way to a cheaper run, as in `Course`.
        say: prints a line.
    """

    def __init__(self, device: torch.device, smaller: str, say: Callable[[str], None]) -> None:
        self.device, self.smaller, self.say = device, smaller, say
        self._start: tuple[float, int] | None = None  # time and images after the first step, which is slower
        self._steps = 0

    def step(self, seen: int, end: int) -> None:
        """Take note of a step. `seen` counts the images so far, `end` all images of the run."""
        if self._steps == STEPS:
            return
        if self._start is None:
            self._start = self._now(), seen
            return
        self._steps += 1
        moment, before = self._start
        if self._steps < STEPS and time.monotonic() - moment < SECONDS:
            return
        self._steps = STEPS
        speed = (seen - before) / max(self._now() - moment, 1e-9)
        left = (end - seen) / speed
        if left < SHORT:
            return
        self.say(f"about {duration(left)} to kimg {end / 1000:g}, at {speed:.3g} images a second")
        if self.device.type == "cpu" and left > LONG:
            kimg = float(f"{(seen + speed * LONG) / 1000:.2g}")
            ways = f"a GPU, {self.smaller}, or an earlier end (--kimg {kimg:g} takes a day)"
            self.say(f"a CPU is too slow for this run: stop it with Ctrl-C, and take {ways}")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()
