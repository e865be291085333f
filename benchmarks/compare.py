"""Our training step and sampling beside the official StyleGAN2-ADA PyTorch code, from a checkout of the user's own.

`python -m benchmarks.compare --official CHECKOUT --resolution 64`
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.setting import Setting
from benchmarks.timing import Times
from imaging.sizes import parse_size
from torch_utils.cli import Command, option, progress, say
from torch_utils.config import build, settings
from torch_utils.flags import flags, given

ROOT = Path(__file__).parents[1]
OFFICIAL = Path(__file__).with_name("official.py")
OFFICIAL_PHASES = {"Gmain": "Gmain", "Gpath": "Greg", "Dmain": "Dmain", "Dr1": "Dreg"}  # ours -> theirs
OFFICIAL_PRECISIONS = {"fp32": "fp32", "tf32": "tf32", "bf16": "fp16", "fp16": "fp16"}  # it knows no bfloat16
# What a run of it imports, which fails at once where something that it requires is not installed.
STARTS = "import sys; sys.path.insert(0, sys.argv[1]); import training.networks, training.loss"
EXAMPLES = """
Examples:
  git clone https://github.com/NVlabs/stylegan2-ada-pytorch
  python -m benchmarks.compare --official stylegan2-ada-pytorch --resolution 64
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--official",
    "checkout",
    type=click.Path(path_type=Path),
    required=True,
    group="Measurement",
    help="Folder of the official code, which stays a black box; its own requirements must be installed.",
)
@option(
    "--rounds", type=click.IntRange(min=1), default=2, group="Measurement", help="Times that each of the two is run."
)
@option("--json", "as_json", is_flag=True, group="Measurement", help="Print JSON instead of a table.")
def main(checkout: Path, rounds: int, as_json: bool, **params: Any) -> None:
    """Time our code and the official code by turns, each in a process of its own and never both at once.

    Where we compute in bfloat16, the official code does so in float16, the only short format that it knows; on a CPU
    it always computes in float32, for a CPU's float16 is hundreds of times slower.
    """
    setting = build(Setting, given(Setting, params)).resolved()
    check(setting, checkout)
    found = compare(setting, checkout, rounds)
    say(json.dumps(found) if as_json else table(setting, found))


def check(setting: Setting, checkout: Path) -> None:
    """Raises FileNotFoundError or ValueError for what the official code is not, or cannot do."""
    if not (checkout / "training" / "networks.py").is_file():
        raise FileNotFoundError(
            f"--official {checkout} is no checkout of the official code (it has no training/networks.py): "
            f"clone https://github.com/NVlabs/stylegan2-ada-pytorch and give its folder"
        )
    height, width = parse_size(setting.resolution)
    if height != width or height & (height - 1):
        raise ValueError(
            f"--resolution {setting.resolution}: the official code knows squares of a power of two only, such as 64"
        )
    if setting.device == "mps":
        raise ValueError("--device mps: the official code knows cpu and cuda only")
    start = [sys.executable, "-c", STARTS, str(checkout.resolve())]
    if (run := subprocess.run(start, capture_output=True, text=True)).returncode:
        raise ValueError(
            f"--official {checkout} does not start ({last_words(run)}): install what it requires beside PyTorch"
        )


def compare(setting: Setting, checkout: Path, rounds: int) -> dict[str, Any]:
    """Medians of both over the rounds (images a second, seconds of each phase, bytes), and ratios ours / official."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "official": []}
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "ours": lambda: ours(setting),
        "official": lambda: theirs(setting, checkout),
    }
    # ABBA: when the machine grows faster or slower, neither gains by it.
    order = [name for i in range(rounds) for name in (list(runs) if i % 2 == 0 else reversed(list(runs)))]
    for name in progress(order, len(order), "runs"):
        found[name].append(runs[name]())
    medians = {name: {key: median(run[key] for run in all_) for key in all_[0]} for name, all_ in found.items()}
    ratios = {key: medians["ours"][key] / value for key, value in medians["official"].items()}
    return {"setting": setting.model_dump(), **medians, "ratio": ratios, "rounds": found}


def ours(setting: Setting) -> dict[str, float]:
    """One run of `benchmarks.step`."""
    found = run_json([sys.executable, "-m", "benchmarks.step", "--json", *spelled(setting)])
    return figures(Times(**found["times"]))


def official_precision(setting: Setting) -> str:
    """The number format in which the official code is fastest beside ours."""
    return "fp32" if setting.device == "cpu" else OFFICIAL_PRECISIONS[setting.precision]


def theirs(setting: Setting, checkout: Path) -> dict[str, float]:
    """One run of `benchmarks/official.py`, with the official names of the phases replaced by ours."""
    side = parse_size(setting.resolution)[0]
    other = setting.model_copy(update={"precision": official_precision(setting), "resolution": str(side)})
    # As a file, not as a module: the checkout's packages have the names of ours, and must be found first.
    found = run_json([sys.executable, str(OFFICIAL), str(checkout.resolve()), *spelled(other)])
    for key in ("phase_seconds", "phase_intervals"):
        found[key] = {name: found[key][official] for name, official in OFFICIAL_PHASES.items()}
    return figures(Times(**found))


def figures(times: Times) -> dict[str, float]:
    """What is compared."""
    phases = {f"{name}_seconds": seconds for name, seconds in times.phase_seconds.items()}
    return {"train": times.train_speed, "sampling": times.sample_speed, **phases, "bytes": times.peak_bytes}


def spelled(setting: Setting) -> list[str]:
    """A setting as flags."""
    flag_of = {name: setting_.mark["flag"] for name, setting_ in settings(Setting).items()}
    return [text for name, value in setting.model_dump().items() for text in (flag_of[name], str(value))]


def run_json(command: list[str]) -> dict[str, Any]:
    """The JSON of the last line that a command prints.

    Raises:
        ValueError: when it fails, with its last words.
    """
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"{Path(command[1]).name} failed ({last_words(run)}); see for yourself: {' '.join(command)}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def last_words(run: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program wrote of its errors."""
    return (run.stderr.strip().splitlines() or ["no message"])[-1]


def table(setting: Setting, found: dict[str, Any]) -> str:
    """A comparison as text."""
    mine, official_, ratio = found["ours"], found["official"], found["ratio"]
    rows = [("training, images/s", "train", 1.0), ("sampling, images/s", "sampling", 1.0)]
    rows += [(f"{name}, ms", f"{name}_seconds", 1e3) for name in OFFICIAL_PHASES]
    rows.append(("memory, MiB", "bytes", 2.0**-20))
    theirs_in = official_precision(setting)
    lines = [
        f"{setting.resolution} pixels, channels {setting.channel_base} / resolution up to {setting.channel_max}, "
        f"{setting.mapping_layers} mapping layers, batch {setting.batch}",
        f"{setting.device}, {setting.precision} (official: {theirs_in}), {setting.threads} threads; medians of "
        f"{len(found['rounds']['ours'])} runs by turns, each the median of {setting.iterations}",
        "",
        f"{'':<20}  {'ours':>9}  {'official':>9}  {'ratio':>6}   ours / official: above 1 is faster for images/s,",
        f"{'':<51}   below 1 is faster for ms and smaller for MiB",
    ]
    for label, key, scale in rows:
        lines.append(f"{label:<20}  {mine[key] * scale:9.2f}  {official_[key] * scale:9.2f}  {ratio[key]:6.2f}")
    return "\n".join(lines)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
