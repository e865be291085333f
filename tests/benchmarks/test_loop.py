"""What a training loop spends its time on."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import loop
from tests.training.runs import train


def record(seen, seconds, counts, **timing):
    gradients = {f"gradients/{name}": {"count": count} for name, count in counts.items()}
    return {"seen": seen, "time/seconds": seconds, **gradients, **{f"timing/{k}": v for k, v in timing.items()}}


def test_a_phase_counts_as_often_as_it_ran():
    """Two intervals of 10 s; the first line, with the start of the program, counts nothing."""
    records = [
        record(100, 50.0, {"Gmain": 9}, Gmain=5.0, data=1.0),
        record(200, 60.0, {"Gmain": 4, "Dr1": 1}, Gmain=1.0, Dr1=2.0, data=0.5),
        record(300, 70.0, {"Gmain": 4}, Gmain=1.5, data=0.25),
    ]
    found = loop.shares(records)
    assert (found["seconds"], found["images"]) == (20.0, 200)
    assert found["shares"] == pytest.approx(
        {"Gmain": 10 / 20, "Dr1": 2 / 20, "waiting for data": 3 / 20, "the rest": 5 / 20}
    )
    assert loop.table("run", found).endswith("the loop reaches 60.0% of the images per second of bare phases")


def test_a_run_is_read(tmp_path):
    folder = train(tmp_path, pace__kimg=0.032, pace__tick=0.008)
    result = CliRunner().invoke(loop.main, [str(folder), "--json"])
    assert result.exit_code == 0, result.output
    shares = json.loads(result.stdout)["shares"]
    assert {"Gmain", "Dmain", "waiting for data", "the rest"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(1) and all(share > 0 for share in shares.values())
    assert "ms per image" in CliRunner().invoke(loop.main, [str(folder)]).output


def test_refuses_in_one_sentence(tmp_path):
    (tmp_path / "stats.jsonl").write_text("")
    result = CliRunner().invoke(loop.main, [str(tmp_path)])
    assert result.exit_code == 2 and "has 0 status lines, and 2 are needed: train longer" in result.output
