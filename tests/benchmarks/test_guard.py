import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks import guard, kernels
from benchmarks.guard import Verdict, conclusion, guarded
from benchmarks.kernels import Timing

SLOW = "bias_act backward 2x4x8x8 float32 channels_last"


@pytest.fixture
def floors(monkeypatch, tmp_path):
    """Floors of a value for tiny cases, where every native kernel but one is three times as fast as its reference."""

    def measure(case, device, rounds):
        return Timing(case, native=1.0, reference=0.5 if str(case) == SLOW else 3.0, copy=1.0, bytes=1)

    monkeypatch.setattr(guard, "measure", measure)
    monkeypatch.setattr(guard, "SHAPES", {"cpu": (2, 4, 8, 8)})
    monkeypatch.setattr(guard, "FLOORS", tmp_path / "floors.json")

    def of(value):
        table = {} if value is None else {str(case): value for case in guarded("cpu")}
        guard.FLOORS.write_text(json.dumps({"cpu": table, "cuda": {"x": 1.5}}))

    return of


def run(*flags):
    return CliRunner().invoke(guard.main, ["--rounds", "1", "--threads", "1", *flags])


def test_a_low_ratio_is_reported(floors):
    floors(2.0)
    result = run()
    assert result.exit_code == 0, result.output
    low = [line for line in result.output.splitlines() if line.endswith("below")]
    assert [line.split() for line in low] == [[*SLOW.split(), "0.50", "2.00", "below"]]
    assert f"1 ratio of {len(guarded('cpu'))} below the floor: measure again on an idle machine" in result.output
    assert run("--strict").exit_code == 1
    floors(0.5)
    assert run("--strict").exit_code == 0


def test_floors_are_set_below_what_is_measured(floors, monkeypatch):
    monkeypatch.setattr(guard.build, "implementation", lambda device: "native")
    floors(9.0)
    result = run("--update")
    assert result.exit_code == 0, result.output
    assert "ratios reach their floors" in result.output
    found = json.loads(guard.FLOORS.read_text())
    assert found["cuda"] == {"x": 1.5}  # those of another device stay
    assert set(found["cpu"]) == {str(case) for case in guarded("cpu")}
    assert found["cpu"][SLOW] == 0.35 and set(found["cpu"].values()) == {0.35, 2.1}


def test_floors_need_native_operators(floors, monkeypatch):
    monkeypatch.setattr(guard.build, "implementation", lambda device: "pytorch")
    monkeypatch.setattr(guard.build, "shortfall", lambda device: "no compiler was found: install g++")
    result = run("--update")
    assert result.exit_code == 2
    assert "--update needs native operators: no compiler was found: install g++" in result.output


def test_a_device_without_floors(floors):
    floors(None)
    result = run("--strict")
    assert result.exit_code == 0
    assert "there are no floors for cpu yet: set them with --update" in result.output


def test_new_cases_have_no_floor_yet():
    verdicts = [Verdict("a", 1.0, 1.0), Verdict("b", 2.0, None), Verdict("c", 0.5, 0.6)]
    assert [v.low for v in verdicts] == [False, False, True]
    assert conclusion(verdicts, "cpu").startswith("1 ratio of 2 below the floor")


def test_the_recorded_floors_are_of_guarded_cases():
    for device_type, table in json.loads(guard.FLOORS.read_text()).items():
        assert set(table) <= {str(case) for case in guarded(device_type)}
        assert all(floor > 0 for floor in table.values())


def test_a_case_is_measured(monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 0.0)
    case = kernels.Case("bias_act", "double", (2, 4, 8, 8), "bfloat16", "channels_last")
    assert kernels.measure(case, torch.device("cpu"), 1).ratio > 0
