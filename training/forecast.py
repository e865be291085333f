"""How long a run will take, said after its first steps, when there is time to start it otherwise."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from training.report.history import part
from training.report.status import duration

STEPS, SECONDS = 16, 10.0  # 16 iterations hold every phase as often as all do; where they are slow, fewer must do
SHORT = 60.0  # seconds; of a run that ends so soon nothing is said
LONG = 86400.0  # seconds that a run on a CPU may take before other ways are named


class Forecast:
    """Says once how fast the first steps were, and when the run will end at that speed.

    Args:
        device: that trains.
        config: of the run, nested, as in `config.json`.
        say: takes a line.
    """

    def __init__(self, device: torch.device, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.device, self.config, self.say = device, config, say
        self._start: tuple[float, int] | None = None  # moment and images after the first step, which is slower
        self._steps, self._said = 0, False

    def step(self, seen: int, end: int) -> None:
        """To be called after every step. `seen` counts the images so far, `end` those at the end."""
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
            self.say(self._ways_out(seen, speed))

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def _ways_out(self, seen: int, speed: float) -> str:
        """What makes a run on a CPU bearable, in options that can be pasted."""
        ways = ["a GPU"]
        if self.config.get("preset") != "demo":
            ways.append("a smaller network for a shorter time (--preset demo)")
        base = part(self.config, "generator").get("channel_base", 0) // 4
        if base >= 256:
            flags = " ".join(f"--set {network}.channel_base={base}" for network in ("generator", "discriminator"))
            ways.append(f"a narrower network ({flags})")
        kimg = float(f"{(seen + speed * LONG) / 1000:.2g}")
        ways.append(f"an earlier end (--kimg {kimg:g} takes a day)")
        return f"a CPU is too slow for this run: stop it with Ctrl-C, and take {', or '.join(ways)}"
