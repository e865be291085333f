"""How much memory a training step takes on any device, computed without the device by tensors without data."""

import click
import torch

from models.family import Shape
from torch_utils.cli import SET, Command, Size, option, say
from torch_utils.flags import given
from training.batch_gpu import footprint
from training.course import Asked
from training.courses import DEFAULT, every, find

EXAMPLES = """
Examples:
  python -m benchmarks.memory --resolution 1024 --preset stylegan2 --batch-gpu 1 --batch-gpu 4
  python -m benchmarks.memory --resolution 256 --precision fp16 --set generator.channel_base=32768
"""
GIB = 2**30


@click.command(cls=Command, epilog=EXAMPLES)
@option("--resolution", type=Size(), default="1024", group="Networks", help="pixels, or WIDTHxHEIGHT")
@option("--classes", type=click.IntRange(0), default=0, group="Networks", help="classes of the images; 0 for none")
@option(
    "--model", type=click.Choice(every()), metavar="NAME", default=DEFAULT, group="Networks", help="what is trained"
)
@option("--preset", default="stylegan2", group="Networks", help="a preset of train.py")
@SET
@option("--batch-gpu", type=click.IntRange(1), multiple=True, default=[1, 2, 4, 8], group="Step", help="images at once")
@option("--precision", default="bf16", group="Step", help="fp32, tf32, bf16 or fp16")
@option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", group="Step", help="need not exist here")
def main(
    resolution: tuple[int, int],
    classes: int,
    model: str,
    preset: str,
    sets: tuple[str, ...],
    batch_gpu: tuple[int, ...],
    precision: str,
    device: str,
) -> None:
    """Compute the memory of one training process: networks, gradients, Adam's moments and activations.

    With and without --checkpoint-activations. cuDNN's workspaces, gaps between tensors and the CUDA context, a few
    hundred MiB each, are not included.
    """
    (height, width), course = resolution, find(model)
    say(f"{width}x{height}, preset {preset}, {precision}, {device}; GiB")
    values = {"model": model, "precision": precision, "device": device} | given(course.config, {}, sets)
    rows = []
    for checkpoint in (False, True):
        for number in batch_gpu:
            more = {"pace.batch_gpu": number, "checkpoint_activations": checkpoint}
            config = course.settle(Asked(preset, Shape(height, width, 3, classes), values | more))[0]
            rows.append((number, checkpoint, footprint(config, config.pace.batch, torch.device(device))))
    say(table(rows))


def table(rows: list[tuple[int, bool, dict[str, int]]]) -> str:
    """Images at once, whether activations are checkpointed, and the memory of a step, as text."""
    first = rows[0][2]
    lines = [
        ", ".join(f"{name} {first[name] / GIB:.2f}" for name in ("networks", "gradients", "optimizers")),
        "",
        f"{'at once':>7}  {'checkpointing':>13}" + "".join(f"  {name:>6}" for name in list(first)[3:]),
    ]
    for number, checkpoint, found in rows:
        sizes = "".join(f"  {size / GIB:6.2f}" for size in list(found.values())[3:])
        lines.append(f"{number:7}  {'yes' if checkpoint else 'no':>13}{sizes}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
