"""How much memory a training step takes, on any device, computed without the device: tensors have shapes but no data.

`python -m benchmarks.memory --resolution 1024 --preset stylegan2 --batch-gpu 1 --batch-gpu 4`
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import click
import torch

from torch_utils.cli import SET, Command, Size, option, say
from torch_utils.flags import given
from training.footprint import footprint
from training.stylegan2 import presets
from training.stylegan2.config import StyleGAN2Config

EXAMPLES = """
Examples:
  python -m benchmarks.memory --resolution 1024 --preset stylegan2 --batch-gpu 1 --batch-gpu 4
  python -m benchmarks.memory --resolution 256 --precision fp16 --set generator.channel_base=32768 --json
"""
GIB = 2**30


@dataclass(frozen=True)
class Row:
    """The memory of a step with so many images at once."""

    batch_gpu: int
    checkpoint_activations: bool
    phases: dict[str, int]  # bytes at most in each


@click.command(cls=Command, epilog=EXAMPLES)
@option("--resolution", type=Size(), default="1024", group="Networks", help="pixels, or WIDTHxHEIGHT")
@option("--classes", type=click.IntRange(0), default=0, group="Networks", help="classes of the images; 0 for none")
@option(
    "--preset",
    type=click.Choice(["auto", *presets.ROWS]),
    default="stylegan2",
    group="Networks",
    help="a named configuration of train.py",
)
@SET
@option(
    "--batch-gpu",
    type=click.IntRange(1),
    multiple=True,
    default=[1, 2, 4, 8],
    group="Step",
    help="images at once; give the option again for more numbers",
)
@option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="bf16",
    group="Step",
    help="number format of the convolutions",
)
@option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", group="Step", help="need not exist here")
@option("--json", "as_json", is_flag=True, group="Step", help="print JSON instead of a table")
def main(batch_gpu: tuple[int, ...], as_json: bool, **params: Any) -> None:
    """Compute the memory of one training process: networks, gradients, Adam's moments and activations.

    With and without --checkpoint-activations. cuDNN's workspaces, gaps between tensors and the CUDA context, a few
    hundred MiB each, are not included.
    """
    rows = measure(batch_gpu, **params)
    say(json.dumps([asdict(row) for row in rows]) if as_json else table(rows, **params))


def measure(
    batch_gpu: tuple[int, ...],
    resolution: tuple[int, int],
    classes: int,
    preset: str,
    sets: tuple[str, ...],
    precision: str,
    device: str,
) -> list[Row]:
    """A row for each number of images, without and with checkpointing."""
    values = given(StyleGAN2Config, {}, sets) | {"precision": precision, "device": device}
    data = {"height": resolution[0], "width": resolution[1], "channels": 3, "classes": classes}
    rows = []
    for checkpoint in (False, True):
        for number in batch_gpu:
            more = {"pace.batch_gpu": number, "checkpoint_activations": checkpoint}
            config = presets.resolve(preset, data, values | more, world=1)
            rows.append(Row(number, checkpoint, footprint(config, config.pace.batch, torch.device(device))))
    return rows


def table(rows: list[Row], resolution: tuple[int, int], preset: str, precision: str, device: str, **_: Any) -> str:
    """Rows as text."""
    phases = list(rows[0].phases)
    lines = [
        f"{resolution[1]}x{resolution[0]}, preset {preset}, {precision}, {device}; GiB",
        "",
        f"{'at once':>7}  {'checkpointing':>13}" + "".join(f"  {name:>6}" for name in phases) + f"  {'most':>6}",
    ]
    for row in rows:
        numbers = [*(row.phases[name] for name in phases), max(row.phases.values())]
        start = f"{row.batch_gpu:7}  {'yes' if row.checkpoint_activations else 'no':>13}"
        lines.append(start + "".join(f"  {number / GIB:6.2f}" for number in numbers))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
