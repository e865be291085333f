"""When things happen: by images seen since the very beginning, whatever the batch and wherever a run was resumed."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import train
from training import loop
from training.config import PaceConfig
from training.loop import fit
from training.state import Clock


class Diary:
    """Stands in for a run and notes what it is asked to do."""

    def __init__(self, seen: int = 0, stop_at: int | None = None) -> None:
        self.clock = Clock(iteration=seen // 4, seen=seen)
        self.stop_at = stop_at
        self.events: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.events.append((name, self.clock.seen))

    def stopping(self) -> bool:
        return self.clock.seen == self.stop_at

    def state_is_due(self, minutes: float) -> bool:
        return self.clock.seen in (12, 44)

    def of(self, name: str) -> list[int]:
        return [seen for event, seen in self.events if event == name]


class NoRecipe:
    phases = ()

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


def test_a_resumed_run_keeps_the_same_appointments(monkeypatch):
    first, second = events(monkeypatch, stop_at=24), events(monkeypatch, seen=24)
    assert first.of("tick") + second.of("tick") == [12, 20, 32, 40, 52]
    assert first.of("snapshot") + second.of("snapshot") == [0, 20, 40, 52]
    assert first.of("save_state")[-1] == 24  # being stopped saves


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As many tensors are alive, of as many bytes, after 60 iterations as after 20: nothing is held on to."""
    honest, alive = loop.step, {}

    def counted(recipe: Any, batches: Iterator[Any], run: Any, pace: PaceConfig) -> None:
        honest(recipe, batches, run, pace)
        if run.clock.iteration in (19, 59):
            gc.collect()
            tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)]
            alive[run.clock.iteration] = (len(tensors), sum(t.numel() * t.element_size() for t in tensors))

    monkeypatch.setattr(loop, "step", counted)
    train(tmp_path, pace__kimg=0.3, pace__tick=0.08)
    assert alive[19] == alive[59]


def test_evaluation_happens_at_snapshots(monkeypatch):
    monkeypatch.setattr(loop, "step", lambda *arguments: None)
    diary, judged = Diary(), []
    fit(NoRecipe(), iter(()), diary, PACE, lambda recipe, run: judged.append(run.clock.seen))
    assert judged == [20, 40, 52]
