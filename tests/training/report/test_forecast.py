import pytest
import torch

from tests.training.runs import train
from training.report import writer
from training.report.writer import Forecast


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    return now


def told(clock: list[float], seconds: float, end: int, steps: int = 40, device="cpu") -> list[str]:
    """What is said in steps of 32 images of so many seconds; the first takes longer."""
    said: list[str] = []
    forecaster = Forecast(torch.device(device), "smaller networks", said.append)
    for step in range(steps):
        clock[0] += seconds if step else 100.0
        forecaster.step(32 * (step + 1), end)
    return said


def test_it_is_said_once_without_the_first_step(clock):
    assert told(clock, 0.1, 3_200_000, steps=16) == []
    assert told(clock, 0.1, 3_200_000) == ["about 2h 46m 38s to kimg 3200, at 320 images a second"]


def test_slow_steps_are_not_waited_for(clock):
    """Seconds that a step of the usual settings takes on a CPU."""
    (speed, ways) = told(clock, 50, 25_000_000, steps=2)
    assert speed == "about 452d 02h 40m to kimg 25000, at 0.64 images a second"
    assert ways == (
        "a CPU is too slow for this run: stop it with Ctrl-C, and take a GPU, smaller networks, or an earlier end "
        "(--kimg 55 takes a day)"
    )


def test_nothing_is_said_of_a_minute_and_a_gpu_is_told_the_time_alone(clock):
    assert told(clock, 1, 32 * 60) == []
    assert len(told(clock, 50, 25_000_000, device="mps")) == 1


def test_a_run_says_it_before_its_first_tick(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SHORT", 0.0)
    monkeypatch.setattr(writer, "STEPS", 3)
    folder = train(tmp_path, stop_at=6, pace__kimg=1)
    lines = (folder / "log.txt").read_text().splitlines()
    (said,) = [number for number, line in enumerate(lines) if line.startswith("about ")]
    assert said < next(number for number, line in enumerate(lines) if line.startswith("kimg "))
