"""Our program and another one by turns, each run in a process of its own and never both at once."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.step import Times
from torch_utils.cli import progress

ROOT = Path(__file__).parents[1]


def compare(ours: Callable[[], dict[str, Any]], theirs: Callable[[], dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Medians of both (images per second, seconds of each phase, bytes), and the ratios ours / official.

    Args:
        ours, theirs: the fields of a `Times` of one run.
        rounds: runs of each of the two.
    """

    def flat(times: Times) -> dict[str, float]:
        return times.speeds | times.phase_seconds | {"bytes": times.peak_bytes}

    return medians_of(lambda: flat(Times(**ours())), lambda: flat(Times(**theirs())), rounds)


def medians_of(
    ours: Callable[[], dict[str, float]], theirs: Callable[[], dict[str, float]], rounds: int
) -> dict[str, Any]:
    """Medians of the numbers of both, and the ratios ours / official, of `rounds` runs of each."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "official": []}
    # ABBA: if the machine becomes faster or slower, neither has an advantage. The official code starts, as it may fail.
    order = [name for i in range(rounds) for name in (("official", "ours") if i % 2 == 0 else ("ours", "official"))]
    for name in progress(order, len(order), "runs"):
        found[name].append(ours() if name == "ours" else theirs())
    medians = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    return medians | {"ratio": {key: medians["ours"][key] / value for key, value in medians["official"].items()}}


def run_json(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON in the last line that a module of the benchmarks prints, or ValueError with its error."""
    return json_of([sys.executable, "-m", f"benchmarks.{module}", *arguments], module.rsplit(".")[-1])


def json_of(command: list[str], name: str) -> dict[str, Any]:
    """The JSON in the last line that a command prints, or ValueError with its error."""
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        said = run.stderr.strip().splitlines() or ["no message"]
        words = next((line for line in said if line.startswith("Error: ")), said[-1])
        raise ValueError(f"{name} failed ({words}); the command was: {' '.join(command)}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def table(head: str, found: Mapping[str, Mapping[str, float]], other: str = "official") -> str:
    """A comparison with a program called `other` as text."""
    lines = [
        head,
        "",
        f"{'':<20}  {'ours':>9}  {other:>9}  {'ratio':>6}   ours / {other}: above 1 is faster for images/s,",
        f"{'':<51}   below 1 is faster for ms and smaller for MiB",
    ]
    units = {"training": ("training, images/s", 1.0), "sampling": ("sampling, images/s", 1.0)}
    units["bytes"] = ("memory, MiB", 2.0**-20)
    for key, ratio in found["ratio"].items():
        label, scale = units.get(key, (f"{key}, ms", 1e3))
        ours, official = (found[name][key] * scale for name in ("ours", "official"))
        lines.append(f"{label:<20}  {ours:9.2f}  {official:9.2f}  {ratio:6.2f}")
    return "\n".join(lines)
