"""Our training step and sampling beside the official StyleGAN2-ADA PyTorch code, from a checkout of the user's own."""

import json
from pathlib import Path
from typing import Any

import click

from benchmarks import turns
from benchmarks.stylegan2.step import StepSetting
from imaging.sizes import parse_size
from torch_utils.cli import Command, option, say
from torch_utils.config import build, settings
from torch_utils.flags import flags, given

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
    return turns.compare(lambda: ours(setting), lambda: theirs(setting, checkout), rounds)


def ours(setting: StepSetting) -> dict[str, Any]:
    """One run of `benchmarks.stylegan2.step`."""
    flag_of = {name: each.mark["flag"] for name, each in settings(StepSetting).items()}
    given = [text for name, value in setting.model_dump().items() for text in (flag_of[name], str(value))]
    return turns.run_json("stylegan2.step", "--json", *given)


def theirs(setting: StepSetting, checkout: Path) -> dict[str, Any]:
    """One run of `official.py`, with our names of the phases."""
    resolution, _ = parse_size(setting.resolution)
    other = setting.model_dump() | {"resolution": resolution}
    found = turns.run_json("stylegan2.official", str(checkout.resolve()), json.dumps(other))
    for key in ("phase_seconds", "phase_intervals"):
        found[key] = {name: found[key][official] for name, official in OFFICIAL_PHASES.items()}
    return found


def table(setting: StepSetting, rounds: int, found: dict[str, Any]) -> str:
    """A comparison as text."""
    how = f"medians of {rounds} runs by turns, each the median of {setting.iterations}"
    return turns.table(f"{setting} (official: fp32 on a CPU, fp16 for bf16)\n{how}", found)


main.params += flags(StepSetting)

if __name__ == "__main__":
    main()
