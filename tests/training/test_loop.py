"""When things happen: by images seen since the very beginning, whatever the batch and wherever a run was resumed."""

import gc
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import train
from training import run as loop
from training.config import PaceConfig
from training.report.writer import Report
from training.run import Run, fit
from training.state import Clock, Saver


class Diary:
    """Stands in for a run and notes what it is asked to do. It takes what a run takes, and nothing else."""

    seed, folder = 0, None

    def __init__(self, seen: int = 0, stop_at: int | None = None) -> None:
        self.clock = Clock(iteration=seen // 4, seen=seen, seconds=0.0)
        self.stop_at = stop_at
        self.report = self.saver = self
        self.events: list[tuple[str, int]] = []

    def _note(self, name: str) -> None:
        self.events.append((name, self.clock.seen))

    def stopping(self) -> bool:
        return self.clock.seen == self.stop_at

    def state_is_due(self, minutes: float) -> bool:
        assert minutes == PACE.state_minutes
        return self.clock.seen in (12, 44)

    def show_progress(self, seen: int, end: int) -> None:
        assert seen == self.clock.seen and end == PACE.images
        self._note("show_progress")

    def tick(self, phases: Sequence[Any], end: int) -> None:
        assert phases is NoRecipe.phases and end == PACE.images
        self._note("tick")

    def snapshot(self, recipe: Any) -> None:
        assert isinstance(recipe, NoRecipe)
        self._note("snapshot")

    def save_state(self, recipe: Any) -> None:
        assert isinstance(recipe, NoRecipe)
        self._note("save_state")

    def wait(self) -> None:
        self._note("wait")

    def page(self, state: str) -> None:
        assert state == "running"
        self._note("page")

    def of(self, name: str) -> list[int]:
        return [seen for event, seen in self.events if event == name]


def test_the_diary_takes_what_a_run_takes():
    names = {name for name, value in vars(Diary).items() if inspect.isfunction(value) and name not in ("of", "_note")}
    for name in names - {"__init__"}:
        kind = {"page": Report, "wait": Saver}.get(name, Run)
        ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters.values()) for kind in (Diary, kind))
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs], name


class NoRecipe:
    phases = ()

    def judged(self) -> str:
        return "a sampler"

    def after_step(self, seen: int) -> None:
        pass


PACE = PaceConfig(kimg=0.05, batch=4, batch_gpu=4, tick=0.01, snap=2)


def events(monkeypatch: pytest.MonkeyPatch, **where: Any) -> Diary:
    monkeypatch.setattr(loop, "step", lambda *arguments: None)
    diary = Diary(**where)
    fit(NoRecipe(), iter(()), diary, PACE)  # type: ignore[arg-type]
    return diary


def test_ticks_snapshots_and_states_keep_their_appointments(monkeypatch):
    diary = events(monkeypatch)
    assert diary.of("tick") == [12, 20, 32, 40, 52]  # the first iteration that reaches 10, 20, 30, 40, and the last
    assert diary.of("snapshot") == [0, 20, 40, 52]
    assert diary.of("save_state") == [12, 20, 40, 44, 52]
    assert diary.of("page") == [0, 20, 40, 52]  # after what it shows
    assert diary.of("show_progress") == list(range(4, 56, 4))
    assert diary.events[-2:] == [("page", 52), ("wait", 52)]
    at = [event for event, seen in diary.events if seen == 20]
    assert at == ["show_progress", "tick", "snapshot", "save_state", "page"]


def test_a_resumed_run_keeps_the_same_appointments(monkeypatch):
    first, second = events(monkeypatch, stop_at=24), events(monkeypatch, seen=24)
    assert first.of("tick") + second.of("tick") == [12, 20, 32, 40, 52]
    assert first.of("snapshot") + second.of("snapshot") == [0, 20, 40, 52]
    assert first.events[-2:] == [("save_state", 24), ("wait", 24)]  # being stopped saves
    assert first.clock.iteration == 6 and second.clock.iteration == 13


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As many tensors are alive, of as many bytes, after 26 iterations as after 18: nothing is held on to."""
    honest, alive = loop.step, {}

    def counted(recipe: Any, batches: Iterator[Any], run: Any, pace: PaceConfig) -> None:
        honest(recipe, batches, run, pace)
        if run.clock.iteration in (17, 25):
            gc.collect()
            tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)]
            alive[run.clock.iteration] = (len(tensors), sum(t.numel() * t.element_size() for t in tensors))

    monkeypatch.setattr(loop, "step", counted)
    train(tmp_path, pace__kimg=0.108, pace__tick=0.08)
    assert alive[17] == alive[25]


def test_evaluation_happens_at_snapshots(monkeypatch):
    monkeypatch.setattr(loop, "step", lambda *arguments: None)
    diary, judged = Diary(), []
    fit(NoRecipe(), iter(()), diary, PACE, lambda sampler, folder, seen, seed, report: judged.append(seen))
    assert judged == [20, 40, 52]
