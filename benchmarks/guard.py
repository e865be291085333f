"""Whether the native operators have become slower: ratios to their reference, compared with recorded floors.

`python -m benchmarks.guard`

Ratios are measured as by `benchmarks.kernels`. Unlike seconds, ratios can be compared between machines. The floors are
in `benchmarks/floors.json`, one table for CPUs and one for CUDA. A floor is 70 % of the ratio that was measured when it
was set, as processors differ and machines are busy.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import torch

from benchmarks.kernels import DIRECTIONS, LAYOUTS, OPERATORS, Case, cases, described, measure
from custom_ops import build
from system.files import replacing
from torch_utils.cli import Command, counted, option, progress, say
from torch_utils.device import keep_freed_memory, resolve_device

FLOORS = Path(__file__).with_name("floors.json")
MARGIN = 0.7  # a floor, as a share of what was measured
SHAPES = {"cpu": (4, 64, 128, 128), "cuda": (32, 64, 256, 256)}
DTYPES = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "float16", "bfloat16")}
EXAMPLES = """
Examples:
  python -m benchmarks.guard
  python -m benchmarks.guard --strict            exit status 1 if a ratio is below its floor
  python -m benchmarks.guard --device cuda --update
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--strict", is_flag=True, group="Guard", help="end with exit status 1 if a ratio is below its floor")
@option("--update", is_flag=True, group="Guard", help="set the floors of this type of device; on an idle machine")
@option("--rounds", type=click.IntRange(min=1), default=9, group="Measurement", help="timings; medians are compared")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", group="Machine", help="compute device")
@option("--threads", type=click.IntRange(min=1), default=2, group="Machine", help="CPU threads")
def main(strict: bool, update: bool, rounds: int, device: str, threads: int) -> None:
    """Compare the speed of the native operators, relative to their reference, with recorded floors."""
    where = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    if update and build.implementation(where) != "native":
        raise ValueError(f"--update needs native operators: {build.shortfall(where) or 'CUSTOM_OPS is set'}")
    every, shown = guarded(where.type), described(where)
    ratios = {str(case): measure(case, where, rounds).ratio for case in progress(every, len(every), "kernels")}
    floors = json.loads(FLOORS.read_text(encoding="utf-8"))
    if update:
        floors[where.type] = {name: round(ratio * MARGIN, 2) for name, ratio in ratios.items()}
        with replacing(FLOORS) as file:
            file.write_text(json.dumps(floors, indent=2) + "\n", encoding="utf-8")
    verdicts = [Verdict(name, ratio, floors[where.type].get(name)) for name, ratio in ratios.items()]
    say("\n".join([shown, "", table(verdicts), "", conclusion(verdicts, where.type)]))
    if strict and any(verdict.low for verdict in verdicts):
        sys.exit(1)


class Verdict(NamedTuple):
    """The ratio of one case and its floor."""

    name: str
    ratio: float  # times as fast as the reference
    floor: float | None  # None if it was never set

    @property
    def low(self) -> bool:
        return self.floor is not None and self.ratio < self.floor


def guarded(device_type: str) -> list[Case]:
    """The cases of a type of device: everything, at one size."""
    return cases(tuple(OPERATORS), DIRECTIONS, [SHAPES[device_type]], DTYPES[device_type], tuple(LAYOUTS))


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as text."""
    width = max(len(verdict.name) for verdict in verdicts)
    lines = [f"{'times as fast as the reference':<{width}}  {'now':>6}  {'floor':>6}"]
    for v in verdicts:
        floor = "-" if v.floor is None else f"{v.floor:.2f}"
        lines.append(f"{v.name:<{width}}  {v.ratio:6.2f}  {floor:>6}{'  below' if v.low else ''}")
    return "\n".join(lines)


def conclusion(verdicts: Sequence[Verdict], device_type: str) -> str:
    """The result in one sentence."""
    known, low = [v for v in verdicts if v.floor is not None], [v for v in verdicts if v.low]
    if not known:
        return f"there are no floors for {device_type} yet: set them with --update"
    if not low:
        return f"all {len(known)} ratios reach their floors"
    return (
        f"{counted(len(low), 'ratio')} of {len(known)} below the floor: measure again on an idle machine; "
        f"then look for the cause, or accept it with --update"
    )


if __name__ == "__main__":
    main()
