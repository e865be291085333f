"""kill -9 at any moment: the run, resumed, ends in the same networks, bit for bit, as if nothing had happened."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import save_file

from system import files
from tests.proofs.children import status_of
from tests.training.runs import resume, train
from tests.training.test_resume import assert_equal_runs
from torch_utils import runs
from training import run as loop
from training.run import Run
from training.state import Saver

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

LENGTH: dict[str, Any] = {"pace__kimg": 0.112}  # 28 iterations: ticks every 5, snapshots every 15
# Between snapshots, states are saved by the clock on the wall. Here after these iterations: none is round, that is, the
# end of a tick (5), or due for path lengths (4) or R1 (16).
SAVES = (3, 7, 11, 13, 18, 23, 26)
IN_SAVE = ("half written", "written", "synced", "old one moved", "renamed")


@dataclass(frozen=True)
class Kill:
    """A moment to die: in the save after an iteration, or as long after its start as a share of a step takes."""

    iteration: int
    moment: str | float


def kills(count: int) -> list[Kill]:
    """Two in five of them in a save."""
    chance = random.Random(5)
    steps = [i for i in range(4, 28) if i % 4 and i % 5]
    saves = [Kill(save, moment) for save in SAVES[1:] for moment in IN_SAVE]
    in_save = chance.sample(saves, round(count * 0.4))
    return in_save + [Kill(chance.choice(steps), chance.random()) for _ in range(count - len(in_save))]


def die(*ignored: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def saving(stack: ExitStack) -> None:
    stack.enter_context(patch.object(Run, "state_is_due", lambda run, minutes: run.clock.iteration in SAVES))


def die_in_save(stack: ExitStack, kill: Kill) -> None:
    """Makes one step of the save deadly: the file is written, synced, the old one moved aside, the new one moved in."""
    honest_save = Run.save_state

    def deadly(run: Run, recipe: Any) -> None:
        if run.clock.iteration == kill.iteration:
            arm()
        honest_save(run, recipe)

    def arm() -> None:
        if kill.moment == "half written":
            stack.enter_context(patch("safetensors.torch.save_file", half))
        elif kill.moment == "written":
            stack.enter_context(patch.object(files, "_sync", die))
        else:
            count = IN_SAVE.index(str(kill.moment)) - 1  # 1 for synced, 2 for moved, 3 for renamed
            stack.enter_context(patch.object(Path, "replace", dying_at(count, Path.replace)))
            stack.enter_context(patch.object(files, "_sync", after_renames(count, files._sync)))

    stack.enter_context(patch.object(Run, "save_state", deadly))


def half(tensors: Any, path: Path, metadata: Any) -> None:
    save_file(tensors, path, metadata)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    die()


def dying_at(count: int, honest: Callable[..., Any]) -> Callable[..., Any]:
    """The first renaming is that of the old state, the second that of the new one; each is preceded by a sync."""
    calls = iter(range(1, 1000))

    def replace(path: Path, target: Path) -> Any:
        if next(calls) == count:
            die()
        return honest(path, target)

    return replace


def after_renames(count: int, honest: Callable[..., Any]) -> Callable[..., Any]:
    def sync(path: Path) -> None:
        if count == 3 and path.is_dir():
            die()  # renamed, but the folder is not yet on the disk
        honest(path)

    return sync


def die_in_step(stack: ExitStack, kill: Kill) -> None:
    """Dies somewhere in an iteration, wherever that may be: in Python, in an operator, in a backward pass."""
    honest = loop.step
    took: list[float] = []

    def step(*arguments: Any) -> None:
        began = time.monotonic()
        if arguments[2].clock.iteration == kill.iteration:
            assert isinstance(kill.moment, float)
            threading.Timer(kill.moment * min(took), die).start()
        honest(*arguments)
        took.append(time.monotonic() - began)

    stack.enter_context(patch.object(loop, "step", step))


def behind(stack: ExitStack) -> None:
    """States are written by a thread while training continues, as on CUDA."""
    honest = Saver.__init__

    def init(saver: Saver, device: torch.device) -> None:
        honest(saver, device)
        saver.in_background = True

    stack.enter_context(patch.object(Saver, "__init__", init))


def run_until(kill: Kill, outdir: Path, in_background: bool = False) -> None:
    with ExitStack() as stack:
        saving(stack)
        if in_background:
            behind(stack)
        (die_in_step if isinstance(kill.moment, float) else die_in_save)(stack, kill)
        train(outdir, **LENGTH)


def go_on(folder: Path) -> None:
    with ExitStack() as stack:
        saving(stack)
        resume(folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    outdir = tmp_path_factory.mktemp("whole")
    with ExitStack() as stack:
        saving(stack)
        return train(outdir, **LENGTH)


RESULT = "resumed: state, networks, sheets and statistics equal those of the uninterrupted run, bit for bit"


def survive(planned: list[Kill], uninterrupted: Path, tmp_path: Path, in_background: bool = False) -> None:
    for number, kill in enumerate(planned):
        outdir, output = tmp_path / str(number), tmp_path / f"{number}.txt"
        until = partial(run_until, kill, outdir, in_background)
        assert status_of(until, output) == -signal.SIGKILL, kill
        (folder,) = outdir.iterdir()
        assert runs.has_state(folder)
        if kill.moment in ("half written", "written", "synced"):
            assert list(folder.glob(".*.tmp")), kill  # it was in the middle
        if isinstance(kill.moment, str):
            assert (folder / "state.safetensors").exists() == (kill.moment != "old one moved"), kill
        assert status_of(partial(go_on, folder), output) == 0, output.read_text()
        assert_equal_runs(uninterrupted, folder, log=False)
        assert not list(folder.glob(".*.tmp")), "what the dead process left is swept away"


def test_a_killed_run_ends_as_if_nothing_had_been(uninterrupted, tmp_path, ledger):
    planned = kills(ledger.of(sample=2, whole=50))
    survive(planned, uninterrupted, tmp_path)
    in_save = sum(isinstance(kill.moment, str) for kill in planned)
    assert not any(kill.iteration % 4 == 0 or kill.iteration % 5 == 0 for kill in planned)
    ledger.add("kill -9 between writing, syncing and renaming a state", in_save, RESULT)
    ledger.add("kill -9 somewhere within an iteration", len(planned) - in_save, RESULT)


def test_a_run_killed_while_a_thread_saves_it(uninterrupted, tmp_path, ledger):
    planned = kills(ledger.of(sample=2, whole=20))
    survive(planned, uninterrupted, tmp_path, in_background=True)
    ledger.add("kill -9 while a state is written in the background, as on CUDA", len(planned), RESULT)


def test_killed_before_the_first_state(tmp_path):
    """There is nothing to go on from, and the user is told so."""
    kill = Kill(SAVES[0], "synced")
    assert status_of(lambda: run_until(kill, tmp_path), tmp_path.with_suffix(".txt")) == -signal.SIGKILL
    with pytest.raises(FileNotFoundError, match="has no state"):
        resume(next(tmp_path.iterdir()))
