"""Train a network on images."""

import system.start  # noqa: F401 (first)

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from imaging.dataset import open_dataset
from metrics import in_loop
from metrics.catalog import parse_list
from models.perceptual import detectors as eyefiles
from models.perceptual.detectoroptions import detector_options
from system.text import public_command
from torch_utils import launch
from torch_utils.cli import SET, Command, More, option
from torch_utils.device import keep_freed_memory
from torch_utils.flags import Option, flags, given
from training import courses, session
from training import plan as plans
from training.course import Course
from training.report import boards

EXAMPLES = """
Examples:
  python train.py                                        cartoon faces, some minutes on a CPU
  python train.py --data ffhq.zip                        settings that suit the images
  python train.py --data ffhq.zip --gamma 5 --mirror
  python train.py --data ffhq.zip --preset paper256 --dry-run
  python train.py --data ffhq.zip --metrics fid50k_full,pr50k3_full
  python train.py --resume latest                        exactly where the last run stopped
  python train.py --data ffhq.zip --gpus 8               the same as torchrun --nproc-per-node=8 train.py ...
  python train.py --data cats.zip --transfer runs/00000-ffhq-auto/network-000200.0.safetensors
  python train.py --data cats.zip --transfer ffhq256     the published network of that name
"""
MODEL = f"Model to train: {', '.join(courses.names())}. --help shows its options; --resume and --transfer find it."
RESUME = (
    "Resume a run: its folder, or the latest run in --outdir (the default without a value). --kimg, --tick, --snap, "
    "--workers, --metrics, --wandb and how the machine computes (docs/performance.md) may change."
)
TRANSFER = (
    "Start a new run from the weights of a network: a file, also one of another program, a run folder, a URL, "
    "hf://USER/NAME, or a published name such as ffhq256. Classes, channels and size of the images may differ."
)
CHANGED = "With --resume: accept images that have changed. Size, channels and classes must be the same."
GPUS = "Train in N processes, one per GPU, or with --device cpu on the CPU. The same as torchrun."


def _more(values: Mapping[str, Any]) -> More:
    """The options of the model that --model names, or the run or network that the command line names."""
    model = courses.name_for(values["model"], values["resume"], values["transfer"], values["outdir"] or Path("runs"))
    course = courses.find(model)
    mine = _flags(course)
    others = {other.title: _flags(other) for other in courses.COURSES if other is not course}
    return More(model, mine, others, (course, model))


def _flags(course: Course) -> list[Option]:
    return [each for each in flags(course.config) if each.name != "model"]


@click.command(cls=Command, more=_more, epilog=EXAMPLES)
@option("--model", metavar="NAME", shown=courses.DEFAULT, group="Training", help=MODEL)
@option("--resume", is_flag=False, flag_value="latest", metavar="RUN|latest", group="Data", help=RESUME)
@option("--transfer", type=click.Path(), metavar="PLACE", group="Data", help=TRANSFER)
@option("--changed-data", is_flag=True, group="Data", help=CHANGED)
@option("--gpus", type=click.IntRange(1), metavar="N", group="Machine", help=GPUS)
@option("--wandb", metavar="PROJECT", group="Output", help="Also log to this project of Weights & Biases.")
@option("--outdir", type=click.Path(path_type=Path), default=Path("runs"), group="Output", help="Folder of all runs.")
@detector_options("Output", "inception, vgg16, lpips or dinov2")
@option("--dry-run", is_flag=True, group="Output", help="Print the configuration and the networks, then stop.")
@SET
@click.pass_obj
def main(
    found: tuple[Course, str],
    resume: str | None,
    transfer: str | None,
    changed_data: bool,
    gpus: int | None,
    outdir: Path,
    wandb: str | None,
    detectors: tuple[str, ...],
    trust: bool,
    dry_run: bool,
    sets: tuple[str, ...],
    **params: Any,
) -> None:
    """Train a network on images of one size.

    Without --data it learns the embedded set of cartoon faces.
    """
    course, model = found
    courses.refuse_foreign(course, model, sets)
    values = given(course.config, params, sets) | {"model": model}
    if resume is not None and transfer is not None:
        raise ValueError("--resume continues a run and --transfer starts a new one: give one of them")
    if changed_data and resume is None:
        raise ValueError("--changed-data needs --resume: leave it out to start a new run")
    if wandb is not None:
        boards.check_wandb(wandb)
    if gpus is not None:
        launch.check(gpus, values.get("device", "auto"))
        if gpus > 1 and not launch.started_here():
            raise SystemExit(launch.start(gpus, sys.argv))
    plan = plans.restarted(values, changed_data)
    if plan is None and resume is not None:
        plan = plans.resume(resume, values, outdir, changed_data)
    plan = plan or plans.begin(values, outdir, transfer)
    if parse_list(plan.config.metrics) and course.family.open_sampler is None:
        raise ValueError(f"--metrics does not apply to {model}, which makes no pictures: give --metrics none")
    if dry_run:
        click.echo("\n\n".join([plan.describe(), *plan.notes]))
        return
    if plan.device.type == "cpu":
        keep_freed_memory()
    config, command = plan.config, public_command("train.py", sys.argv[1:])
    # Metrics compare with all images, even if --max-images limits those for training.
    whole = open_dataset(config.data.model_copy(update={"max_images": 0})) if config.data.max_images else plan.dataset
    whole.decoder = plan.dataset.decoder
    since = plan.state.clock.seen if plan.state else None
    files, batch = eyefiles.parse_files(detectors), config.pace.batch_gpu
    judge = in_loop.prepare(
        config.metrics, files, whole, plan.device, batch, command, plan.course.family.judged, since, trust
    )
    session.train(plan, command, judge, wandb or "")


if __name__ == "__main__":
    main()
