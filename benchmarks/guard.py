"""Whether the native operators have grown slower: ratios to their reference, beside the least that they have reached.

`python -m benchmarks.guard`

Ratios are measured as by `benchmarks.kernels`: native kernel and reference by turns in one process, medians. That makes
them comparable from one machine and one day to the next, as no time is. The floors lie in `benchmarks/floors.json`, one
table for CPUs and one for CUDA. After a change that makes something faster, or slower for a reason,

    python -m benchmarks.guard --update

on a machine that does nothing else measures the floors of that type of device anew. A floor is set at some distance
below what was measured, since processors differ and clouds are busy: what falls through it is worth a look.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
  python -m benchmarks.guard --strict            exit status 1 if a ratio fell below its floor
  python -m benchmarks.guard --device cuda --update
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--strict", is_flag=True, group="Guard", help="End with exit status 1 if a ratio lies below its floor.")
@option("--update", is_flag=True, group="Guard", help="Set the floors of this type of device by what is measured now.")
@option(
    "--floors",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=FLOORS,
    show_default="benchmarks/floors.json",
    group="Guard",
    help="Where the floors are kept.",
)
@option("--rounds", type=click.IntRange(min=1), default=9, group="Measurement", help="Timings, of which medians count.")
@option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", group="Machine", help="Where to compute."
)
@option("--threads", type=click.IntRange(min=1), default=2, group="Machine", help="Of the CPU.")
def main(strict: bool, update: bool, path: Path, rounds: int, device: str, threads: int) -> None:
    """Compare the speed of the native operators, in units of their reference, with what it has been.

    It is a report: the exit status tells of low ratios only with --strict.
    """
    where = resolve_device(device)
    torch.set_num_threads(threads)
    keep_freed_memory()
    if update and build.implementation(where) != "native":
        raise ValueError(f"--update wants native operators to measure: {build.shortfall(where) or 'CUSTOM_OPS is set'}")
    every, shown = guarded(where.type), described(where)
    ratios = {str(case): measure(case, where, rounds).ratio for case in progress(every, len(every), "kernels")}
    floors = read(path)
    if update:
        floors = {**floors, where.type: {name: round(ratio * MARGIN, 2) for name, ratio in ratios.items()}}
        with replacing(path) as file:
            file.write_text(json.dumps(floors, indent=2) + "\n", encoding="utf-8")
    verdicts = judge(ratios, floors.get(where.type, {}))
    say("\n".join([shown, "", table(verdicts), "", conclusion(verdicts, where.type)]))
    if strict and any(verdict.low for verdict in verdicts):
        sys.exit(1)


@dataclass(frozen=True)
class Verdict:
    """What became of one case."""

    name: str
    ratio: float  # times as fast as the reference
    floor: float | None  # None where none was ever set

    @property
    def low(self) -> bool:
        return self.floor is not None and self.ratio < self.floor


def guarded(device_type: str) -> list[Case]:
    """What is watched on a type of device: everything, at one size."""
    return cases(tuple(OPERATORS), DIRECTIONS, [SHAPES[device_type]], DTYPES[device_type], tuple(LAYOUTS))


def judge(ratios: dict[str, float], floors: dict[str, float]) -> list[Verdict]:
    """Every ratio beside its floor."""
    return [Verdict(name, ratio, floors.get(name)) for name, ratio in ratios.items()]


def read(path: Path) -> dict[str, dict[str, float]]:
    """The floors by type of device and case; none where there is no such file.

    Raises:
        ValueError: when the file is not one of floors.
    """
    if not path.exists():
        return {}
    try:
        floors = json.loads(path.read_text(encoding="utf-8"))
        return {device: {name: float(floor) for name, floor in table.items()} for device, table in floors.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no floors ({error}): make them anew with --update") from error


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as text."""
    width = max(len(verdict.name) for verdict in verdicts)
    lines = [f"{'times as fast as the reference':<{width}}  {'now':>6}  {'floor':>6}"]
    for v in verdicts:
        floor = "-" if v.floor is None else f"{v.floor:.2f}"
        lines.append(f"{v.name:<{width}}  {v.ratio:6.2f}  {floor:>6}{'  below' if v.low else ''}")
    return "\n".join(lines)


def conclusion(verdicts: Sequence[Verdict], device_type: str) -> str:
    """What to make of it, in one sentence."""
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
