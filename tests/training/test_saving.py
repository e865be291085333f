"""States that are written while training continues, as on CUDA; here on a CPU."""

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import finish, resume, tiny, train
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint, runs
from training import plan as plans
from training.run import Run
from training.state import Saver, read_state

CPU = torch.device("cpu")


@pytest.fixture
def behind(monkeypatch):
    """All runs save in the background, a state after every fourth iteration. Gives the threads that wrote."""
    honest_init, honest_save, threads = Saver.__init__, checkpoint.save, []

    def init(self: Saver, device: torch.device) -> None:
        honest_init(self, device)
        self.in_background = True

    def save(*arguments: Any, **named: Any) -> None:
        threads.append(threading.current_thread().name)
        time.sleep(0.02)
        honest_save(*arguments, **named)

    monkeypatch.setattr(Saver, "__init__", init)
    monkeypatch.setattr("training.state.checkpoint.save", save)
    monkeypatch.setattr(Run, "state_is_due", lambda run, minutes: run.clock.iteration % 4 == 3)
    return threads


def test_only_cuda_saves_in_the_background():
    assert not Saver(CPU).in_background and Saver(torch.device("cuda")).in_background


def test_a_run_saved_in_the_background_is_the_same_run(tmp_path, behind, monkeypatch):
    folder = resume(train(tmp_path / "behind", stop_at=9, pace__kimg=0.08))
    assert read_state(runs.resolve(str(folder), tmp_path)).clock.seen == 80
    assert len([name for name in behind if name.startswith("saving")]) > 5
    monkeypatch.undo()
    assert_equal_runs(train(tmp_path / "plain", pace__kimg=0.08), folder)


def test_the_copy_is_of_the_moment_of_the_call(tmp_path):
    saver, x = Saver(CPU), torch.zeros(1000)
    saver.in_background = True
    gate = threading.Event()
    saver._pool.submit(gate.wait)
    saver.save(tmp_path / "a", {"x": x, "alias": x, "row": x[:10]}, {"k": 1}, tmp_path / "b")
    x.fill_(7)
    assert not (tmp_path / "a").exists()
    gate.set()
    saver.wait()
    tensors, metadata = checkpoint.load(tmp_path / "a")
    assert not any(tensor.any() for tensor in tensors.values()) and metadata == {"k": 1}
    saver.close()


def test_one_copy_is_held_and_its_memory_used_again(tmp_path):
    saver = Saver(CPU)
    saver.in_background = True
    places = []
    for step in range(3):
        saver.save(tmp_path / "a", {"x": torch.full((100,), step)}, {}, tmp_path / "b")
        places.append(saver._copies["x"].data_ptr())
        assert len(saver._copies) == 1
    saver.save(tmp_path / "a", {"x": torch.zeros(7), "y": torch.zeros(1)}, {}, tmp_path / "b")
    saver.wait()
    assert len(set(places)) == 1
    assert checkpoint.load(tmp_path / "b")[0]["x"].tolist() == [2] * 100
    saver.close()
    assert not saver._copies


def test_memory_that_cannot_be_pinned_serves_as_it_is(tmp_path, monkeypatch):
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory")

    saver = Saver(CPU)
    monkeypatch.setattr(torch.Tensor, "pin_memory", full)
    monkeypatch.setattr("training.state.torch.cuda.synchronize", lambda: None)
    saver.in_background = saver._pinned = True
    saver.save(tmp_path / "a", {"x": torch.arange(5)}, {}, tmp_path / "b")
    saver.wait()
    assert checkpoint.load(tmp_path / "a")[0]["x"].tolist() == [0, 1, 2, 3, 4]
    saver.close()


def full_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The disk is full after so many states."""
    honest, calls = checkpoint.save, []

    def save(path: Path, *arguments: Any, **named: Any) -> None:
        calls.append(path)
        if len(calls) > count:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        honest(path, *arguments, **named)

    monkeypatch.setattr("training.state.checkpoint.save", save)


def test_an_error_of_the_thread_ends_the_run_as_one_of_its_own(tmp_path, behind, monkeypatch):
    full_after(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left") as caught:
        train(tmp_path, pace__kimg=0.2)
    (folder,) = tmp_path.iterdir()
    assert caught.value.filename == str(folder / "state.safetensors")
    assert "No space left" in (folder / "log.txt").read_text()
    assert read_state(runs.resolve(str(folder), tmp_path)).clock.iteration == 7


@pytest.mark.parametrize("stop_at", [2, None])
def test_a_run_whose_last_save_failed_is_neither_stopped_well_nor_done(tmp_path, behind, monkeypatch, capsys, stop_at):
    monkeypatch.setattr(Run, "state_is_due", lambda run, minutes: False)
    full_after(monkeypatch, 0)
    with pytest.raises(OSError, match="No space left"):
        finish(plans.begin(tiny(pace__kimg=0.02, pace__snap=100), tmp_path), stop_at)
    said = capsys.readouterr().out
    assert "done" not in said and "resume with" not in said


def test_an_interrupt_lets_the_save_come_to_its_end(tmp_path, behind, monkeypatch):
    """Whatever ends a run, what is being written is written."""

    def interrupted(run: Run, seen: int, end: int) -> None:
        if run.clock.iteration == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "show_progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert read_state(runs.resolve(str(folder), tmp_path)).clock.iteration == 3
