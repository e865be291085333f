"""What training writes: boards, alarms and pages, and that none of it stops training."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imaging.grid import save_image
from tests.imaging.pictures import picture
from tests.training.report.folders import Page
from tests.training.runs import resume, train
from torch_utils.stats import Moments
from training.report import page
from training.report.writer import Report
from training.signs import mean

FACTS = {"time/seconds": 60.0, "memory/peak bytes": 2.0**30, "steps skipped": 0.0}
WON = {"signs/real": Moments(0.99, 0, 500), "signs/fake": Moments(-0.99, 0, 500), "loss/D fake": Moments(0.01, 0, 50)}
WELL = {"signs/real": Moments(0.5, 0, 500), "signs/fake": Moments(-0.5, 0, 500), "loss/D fake": Moments(0.01, 0, 50)}


def ticks(report: Report, first: int, last: int, moments: dict[str, Moments]) -> None:
    for i in range(first, last + 1):
        report.tick(4000 * i, 10**6, moments, {}, FACTS)


def said(folder: Path, start: str = "alarm") -> list[str]:
    return [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith(start)]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run that was stopped and resumed."""
    folder = train(tmp_path_factory.mktemp("runs"), stop_at=12, pace__kimg=0.1)
    text = Page((folder / page.NAME).read_text()).text
    assert "stopped" in text and "python train.py --resume" in text
    return resume(folder)


def test_a_run_ends_with_a_page_that_says_so(finished):
    found = Page((finished / page.NAME).read_text())
    assert "finished" in found.text and "0.1 of 0.1" in found.text and "Alarms" not in found.text
    assert [shown.get("data-kimg") for shown in found.all("img")] == ["0", "0.1", None]  # kimg 0, 0.06 and 0.1 as named
    (path,) = [tag["d"] for tag in found.all("path") if tag.get("data-name") == "loss/G"]
    assert (path or "").count("L") == 4 and [r["seen"] for r in records(finished)] == [20, 40, 60, 80, 100]
    assert not said(finished)


def test_snapshots_measure_diversity_into_the_statistics_of_their_tick(finished):
    told = records(finished)
    assert [r["seen"] for r in told if "samples/diversity" in r] == [60, 100]
    assert all("loss/G" in r for r in told)
    assert {f"samples/diversity class {i}" for i in range(5)} <= told[-1].keys()


def test_tensorboard_holds_the_same(finished):
    events = EventAccumulator(str(finished), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    for name in ("loss/G", "timing/images per second", "samples/diversity", "memory/peak bytes"):
        values = {r["seen"]: pytest.approx(mean(r[name]), rel=1e-6) for r in records(finished) if name in r}
        assert {event.step: event.value for event in events.Scalars(name)} == values
    assert set(events.Tags()["images"]) == {"fakes", "reals"}
    assert "gamma" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_tensorboard_gets_the_bytes_of_a_picture_and_points_of_metrics(tmp_path, mode):
    path = tmp_path / "fakes.png"
    save_image(picture(12, 8, mode), path)
    (tmp_path / "run").mkdir()
    report = Report(tmp_path / "run")
    report.picture("fakes", path, 4000)
    report.scalars({"metrics/swd": 8.0}, 2000)
    report.close()
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    (shown,) = events.Images("fakes")
    assert shown.step == 4000 and (shown.width, shown.height) == (12, 8)
    assert shown.encoded_image_string == path.read_bytes()
    assert [(event.step, event.value) for event in events.Scalars("metrics/swd")] == [(2000, 8.0)]


def test_processes_that_write_nothing_show_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = Report(None)
    report.picture("reals", tmp_path / "never made.png", 0)
    report.snapshot(tmp_path / "never made.png", 0, {"x": 1.0})
    report.begin({"config": "x"})
    report.scalars({"metrics/swd": 1.0}, 0)
    report.page("running")
    report.close()
    assert not list(tmp_path.iterdir())


def test_an_empty_noise_level_is_left_out(tmp_path):
    report = Report(tmp_path)
    empty = Moments(float("nan"), float("nan"), 0)
    report.tick(4000, 10**6, {"loss/t 0-249": Moments(1.0, 0, 8), "loss/t 250-499": empty}, {}, FACTS)
    report.close()
    (record,) = records(tmp_path)
    assert "loss/t 0-249" in record and "loss/t 250-499" not in record


def test_alarms_are_said_once_until_they_clear(tmp_path, capsys):
    report = Report(tmp_path)
    ticks(report, 1, 20, WON)
    text = "it knows 99.5 % of the reals and 99.5 % of the fakes, at a loss of 0.01; try more images"
    assert len(said(tmp_path)) == 1 and said(tmp_path)[0].startswith(f"alarm: D has won: {text}")
    assert text in capsys.readouterr().out
    ticks(report, 21, 30, WELL)
    assert said(tmp_path)[1:] == ["alarm over: D has won"]
    report.close()
    (shown,) = EventAccumulator(str(tmp_path)).Reload().Tensors("alarms/text_summary")
    assert shown.step == 20_000 and b"**D has won**" in shown.tensor_proto.string_val[0]


def test_a_resumed_run_neither_repeats_nor_forgets_an_alarm(tmp_path):
    first = Report(tmp_path)
    ticks(first, 1, 20, WON)
    first.close()
    second = Report(tmp_path, 4000 * 10)  # the state of kimg 40: the alarm was said, and is not said again
    ticks(second, 11, 20, WON)
    assert len(said(tmp_path)) == 1
    ticks(second, 21, 30, WELL)
    assert said(tmp_path)[1:] == ["alarm over: D has won"]
    second.close()
    third = Report(tmp_path, 4000 * 2)  # of kimg 8: it had not been raised
    ticks(third, 3, 20, WON)
    third.close()
    assert len(said(tmp_path, "alarm:")) == 2


def test_gamma_is_spoken_of_when_a_run_begins(tmp_path):
    image, pace = {"height": 16, "width": 16}, {"batch": 8}
    config = {"preset": "auto", "loss": {"gamma": 99.0}, "generator": image, "pace": pace}
    for seen in (0, 4000):
        report = Report(tmp_path, seen, config)
        report.begin({})
        report.close()
    assert len(said(tmp_path)) == 1 and "--gamma 99 is 15,469 times the 0.0064" in said(tmp_path)[0]


def test_a_page_and_a_board_that_fail_stop_nothing_and_are_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "write", MagicMock(side_effect=RuntimeError("no ink")))
    report = Report(tmp_path)
    monkeypatch.setattr(report.boards[0].events, "add_scalar", MagicMock(side_effect=ConnectionError("gone")))
    ticks(report, 1, 3, WELL)
    report.page("running"), report.page("finished")
    report.close()
    assert said(tmp_path, "report") == ["report.html failed (RuntimeError: no ink): training continues without it"]
    assert said(tmp_path, "Tensor") == ["TensorBoard failed (ConnectionError: gone): training continues without it"]
    assert len(records(tmp_path)) == 3


def test_names_of_odd_letters_stop_nothing(tmp_path):
    folder = tmp_path / "00000-猫"
    folder.mkdir()
    report = Report(folder)
    report.begin({"command": "python train.py --data 'r\udce9sum\udce9 \x1b[31m.zip'"})
    report.say("data: r\udce9sum\udce9")
    ticks(report, 1, 2, WELL)
    report.page("running")
    report.close()
    assert "r\\udce9sum" in (folder / "log.txt").read_text() and "猫" in (folder / page.NAME).read_text()
    assert not said(folder, page.NAME) and not said(folder, "TensorBoard")
