"""Tiny runs for tests. As a program, `runs.py OUTDIR [STOP]` begins the run in OUTDIR, or resumes the one there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from training import plan as plans
from training import session
from training.run import Run

TINY = {
    "data.path": "demo:16",
    "data.max_images": 40,
    "preset": "demo",
    "loss.kind": "logistic",
    "device": "cpu",
    "precision": "fp32",
    "pace.batch": 4,
    "pace.tick": 0.02,  # 5 iterations
    "pace.snap": 3,
    "generator.channel_base": 128,
    "discriminator.channel_base": 128,
    "generator.z_dim": 8,
    "generator.w_dim": 8,
}


def tiny(**more: Any) -> dict[str, Any]:
    """The settings of a run at 16 x 16; `pace__kimg=0.1` says `pace.kimg`."""
    return TINY | {name.replace("__", "."): value for name, value in more.items()}


def train(outdir: Path, stop_at: int | None = None, **more: Any) -> Path:
    """Trains a new tiny run; asks it to stop after `stop_at` iterations."""
    return finish(plans.begin(tiny(**more), outdir), stop_at)


def resume(folder: Path, stop_at: int | None = None, **more: Any) -> Path:
    """Goes on with a run."""
    given = {name.replace("__", "."): value for name, value in more.items()}
    return finish(plans.resume(str(folder), given, folder.parent), stop_at)


def finish(plan: plans.Plan, stop_at: int | None = None) -> Path:
    with stopped_at(stop_at):
        folder = session.train(plan)
    return folder or plan.outdir


@contextmanager
def stopped_at(iteration: int | None) -> Iterator[None]:
    """Runs within the block are asked to stop after so many iterations."""
    honest = Run.stopping

    def stopping(self: Run) -> bool:
        return honest(self) or self.clock.iteration == iteration

    with patch.object(Run, "stopping", stopping):
        yield


if __name__ == "__main__":
    outdir, stop = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    begun = sorted(outdir.glob("00000-*"))
    if begun:
        resume(begun[0], stop)
    else:
        train(outdir, stop, pace__kimg=0.1)
