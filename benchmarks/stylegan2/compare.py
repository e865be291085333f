"""Our training step and sampling beside the official StyleGAN2-ADA PyTorch code, from a checkout of the user's own."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.stylegan2.step import StepSetting, Times
from imaging.sizes import parse_size
from torch_utils.cli import Command, option, progress, say
from torch_utils.config import build, settings
from torch_utils.flags import flags, given

ROOT = Path(__file__).parents[2]
OFFICIAL_PHASES = {"Gmain": "Gmain", "Gpath": "Greg", "Dmain": "Dmain", "Dr1": "Dreg"}  # ours -> official
FOLDER = "folder of the official code, whose requirements must be installed"
EXAMPLES = """
Examples:
  git clone https://github.com/NVlabs/stylegan2-ada-pytorch
  python -m benchmarks.stylegan2.compare --official stylegan2-ada-pytorch --resolution 64
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--official", "checkout", type=click.Path(path_type=Path), required=True, group="Measurement", help=FOLDER)
@option("--rounds", type=click.IntRange(min=1), default=2, group="Measurement", help="runs of each of the two")
def main(checkout: Path, rounds: int, **params: Any) -> None:
    """Time our code and the official code by turns, each in a process of its own and never both at once.

    With bf16 the official code computes in float16, the only short format that it has. On a CPU it always computes in
    float32, since a CPU's float16 is hundreds of times slower.
    """
    setting = build(StepSetting, given(StepSetting, params)).resolved()
    if not (checkout / "training" / "networks.py").is_file():
        raise FileNotFoundError(
            f"--official {checkout} is no checkout of the official code (it has no training/networks.py): "
            f"clone https://github.com/NVlabs/stylegan2-ada-pytorch and give its folder"
        )
    height, width = parse_size(setting.resolution)
    if height != width or height & (height - 1):
        raise ValueError(
            f"--resolution {setting.resolution}: the official code supports squares of a power of two only, such as 64"
        )
    say(table(setting, rounds, compare(setting, checkout, rounds)))


def compare(setting: StepSetting, checkout: Path, rounds: int) -> dict[str, Any]:
    """Medians of both (images per second, seconds of each phase, bytes), and the ratios ours / official."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "official": []}
    # ABBA: if the machine becomes faster or slower, neither has an advantage. The official code starts, as it may fail.
    order = [name for i in range(rounds) for name in (("official", "ours") if i % 2 == 0 else ("ours", "official"))]
    for name in progress(order, len(order), "runs"):
        times = Times(**(ours(setting) if name == "ours" else theirs(setting, checkout)))
        found[name].append(times.speeds | times.phase_seconds | {"bytes": times.peak_bytes})
    medians = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    return medians | {"ratio": {key: medians["ours"][key] / value for key, value in medians["official"].items()}}


def ours(setting: StepSetting) -> dict[str, Any]:
    """One run of `benchmarks.stylegan2.step`."""
    flag_of = {name: each.mark["flag"] for name, each in settings(StepSetting).items()}
    given = [text for name, value in setting.model_dump().items() for text in (flag_of[name], str(value))]
    return run_json("step", "--json", *given)


def theirs(setting: StepSetting, checkout: Path) -> dict[str, Any]:
    """One run of `official.py`, with our names of the phases."""
    resolution, _ = parse_size(setting.resolution)
    other = setting.model_dump() | {"resolution": resolution}
    found = run_json("official", str(checkout.resolve()), json.dumps(other))
    for key in ("phase_seconds", "phase_intervals"):
        found[key] = {name: found[key][official] for name, official in OFFICIAL_PHASES.items()}
    return found


def run_json(name: str, *arguments: str) -> dict[str, Any]:
    """The JSON in the last line that a module of this folder prints, or ValueError with its error."""
    command = [sys.executable, "-m", f"benchmarks.stylegan2.{name}", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        said = run.stderr.strip().splitlines() or ["no message"]
        words = next((line for line in said if line.startswith("Error: ")), said[-1])
        raise ValueError(f"{name} failed ({words}); the command was: {' '.join(command)}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def table(setting: StepSetting, rounds: int, found: dict[str, Any]) -> str:
    """A comparison as text."""
    lines = [
        f"{setting} (official: fp32 on a CPU, fp16 for bf16)",
        f"medians of {rounds} runs by turns, each the median of {setting.iterations}",
        "",
        f"{'':<20}  {'ours':>9}  {'official':>9}  {'ratio':>6}   ours / official: above 1 is faster for images/s,",
        f"{'':<51}   below 1 is faster for ms and smaller for MiB",
    ]
    units = {"training": ("training, images/s", 1.0), "sampling": ("sampling, images/s", 1.0)}
    units["bytes"] = ("memory, MiB", 2.0**-20)
    for key, ratio in found["ratio"].items():
        label, scale = units.get(key, (f"{key}, ms", 1e3))
        ours, official = (found[name][key] * scale for name in ("ours", "official"))
        lines.append(f"{label:<20}  {ours:9.2f}  {official:9.2f}  {ratio:6.2f}")
    return "\n".join(lines)


main.params += flags(StepSetting)

if __name__ == "__main__":
    main()
