"""Train a StyleGAN2."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from torch_utils.cli import Command, option
from torch_utils.flags import flags, given
from training import plan as plans
from training import session
from training.config import TrainConfig
from training.report import wandb as wandb_board

EXAMPLES = """
Examples:
  python train.py                                        cartoon faces, some minutes on a CPU
  python train.py --data ffhq.zip                        settings that suit the images
  python train.py --data ffhq.zip --gamma 5 --mirror
  python train.py --data ffhq.zip --preset paper256 --dry-run
  python train.py --resume latest                        go on exactly where the last run stopped
  python train.py --data cats.zip --transfer runs/00000-ffhq-auto/network-000200.0.safetensors
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--resume",
    metavar="RUN|latest",
    group="Data",
    help="Go on with a run: its folder, or the latest in --outdir. --kimg, --tick, --snap, --workers, "
    "--checkpoint-activations, --compile, --deterministic and --wandb may change.",
)
@option(
    "--transfer",
    type=click.Path(path_type=Path),
    group="Data",
    help="Start from the weights of this network. Classes, channels and size of the images may differ.",
)
@option("--outdir", type=click.Path(path_type=Path), default=Path("runs"), group="Output", help="Where runs are kept.")
@option("--wandb", metavar="PROJECT", group="Output", help="Show the run in this project of Weights & Biases, too.")
@option("--dry-run", is_flag=True, group="Output", help="Print the configuration and the networks, and stop.")
@option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    group="Training",
    help="Any other setting of --dry-run's table, such as loss.mixing=0.5.",
)
def main(
    resume: str | None,
    transfer: Path | None,
    outdir: Path,
    wandb: str | None,
    dry_run: bool,
    sets: tuple[str, ...],
    **params: Any,
) -> None:
    """Train a StyleGAN2 on images of one size.

    Without --data it learns the embedded set of cartoon faces.
    """
    values = given(TrainConfig, params, sets)
    if resume is not None and transfer is not None:
        raise ValueError("--resume goes on with a run and --transfer starts a new one: give one of them")
    if wandb is not None:
        wandb_board.check(wandb)
    plan = plans.resume(resume, values, outdir) if resume is not None else plans.begin(values, outdir, transfer)
    if dry_run:
        click.echo("\n\n".join([plan.describe(), *plan.notes]))
        return
    session.train(plan, command=shlex.join(["python", "train.py", *sys.argv[1:]]), wandb=wandb or "")


main.params += flags(TrainConfig)

if __name__ == "__main__":
    main()
