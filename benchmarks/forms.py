"""Two ways to compute the same layer, timed by turns, and what the rule that picks one of them loses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.step import timings


@dataclass(frozen=True)
class Found:
    """Seconds of both forms of one layer."""

    layer: str
    seconds: dict[str, float]
    choice: str  # the rule's
    times: float = 1  # how often it is computed

    @property
    def regret(self) -> float:
        """How much slower the rule's choice is than the faster form, 0 where they are the same."""
        return self.seconds[self.choice] / min(self.seconds.values()) - 1


def by_turns(calls: Mapping[str, Callable[[], Any]], iterations: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each form over so many turns, after one that is not counted."""
    return timings({form: partial(_again, call) for form, call in calls.items()}, iterations, device)


def _again(call: Callable[[], Any], _: int) -> Any:
    return call()


def table(found: Sequence[Found]) -> str:
    """All layers, and what the rule loses over all of them."""
    forms = list(found[0].seconds)
    heads = "".join(f"  {form + ', ms':>13}" for form in forms)
    lines = [f"{'layer':<40}{heads}  {'the rule':<9}  {'loses':>6}"]
    for f in found:
        ms = "".join(f"  {f.seconds[form] * 1e3:13.3f}" for form in forms)
        lines.append(f"{f.layer:<40}{ms}  {f.choice:<9}  {f.regret:6.1%}")
    best = sum(f.times * min(f.seconds.values()) for f in found)
    chosen = sum(f.times * f.seconds[f.choice] for f in found)
    alone = [f"always {form} {sum(f.times * f.seconds[form] for f in found) / best - 1:.1%}" for form in forms]
    lines += [
        "",
        f"over the sum of the faster form of each layer: {', '.join([f'the rule {chosen / best - 1:.1%}', *alone])}",
    ]
    return "\n".join(lines)
