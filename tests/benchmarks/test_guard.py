import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks import guard, kernels
from benchmarks.guard import Verdict, conclusion, guarded, judge, read
from benchmarks.kernels import Timing

FLAGS = ["--rounds", "1", "--threads", "1"]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(kernels, "BLOCK", 0.0)
    monkeypatch.setattr(guard, "SHAPES", {"cpu": (2, 4, 8, 8)})
    yield
    torch.set_num_threads(threads)


def run(*flags):
    return CliRunner().invoke(guard.main, [*FLAGS, *flags])


@pytest.fixture
def measured(monkeypatch):
    """Every native kernel is three times as fast as its reference, but for one."""

    def measure(case, device, rounds):
        ratio = 0.5 if str(case) == SLOW else 3.0
        return Timing(case, native=1.0, reference=ratio, copy=1.0, bytes=1)

    monkeypatch.setattr(guard, "measure", measure)


SLOW = "bias_act backward 2x4x8x8 float32 channels_last"


def floors(path, value):
    path.write_text(json.dumps({"cpu": {str(case): value for case in guarded("cpu")}, "cuda": {"x": 1.5}}))
    return path


def test_runs_on_tiny_sizes(tmp_path):
    result = run("--floors", str(floors(tmp_path / "floors.json", 0.0)))
    assert result.exit_code == 0, result.output
    assert f"all {len(guarded('cpu'))} ratios reach their floors" in result.output
    assert "below" not in result.output


def test_a_low_ratio_is_reported(tmp_path, measured):
    path = floors(tmp_path / "floors.json", 2.0)
    result = run("--floors", str(path))
    assert result.exit_code == 0
    low = [line for line in result.output.splitlines() if line.endswith("below")]
    assert [line.split() for line in low] == [[*SLOW.split(), "0.50", "2.00", "below"]]
    assert f"1 ratio of {len(guarded('cpu'))} below the floor: measure again on an idle machine" in result.output
    assert run("--floors", str(path), "--strict").exit_code == 1


def test_strict_is_content_with_what_reaches_its_floor(tmp_path, measured):
    assert run("--floors", str(floors(tmp_path / "floors.json", 0.5)), "--strict").exit_code == 0


def test_floors_are_set_below_what_is_measured(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(guard.build, "implementation", lambda device: "native")
    path = floors(tmp_path / "floors.json", 9.0)
    result = run("--floors", str(path), "--update")
    assert result.exit_code == 0, result.output
    assert "ratios reach their floors" in result.output
    found = json.loads(path.read_text())
    assert found["cuda"] == {"x": 1.5}  # another device's are left alone
    assert set(found["cpu"]) == {str(case) for case in guarded("cpu")}
    assert found["cpu"][SLOW] == 0.35 and set(found["cpu"].values()) == {0.35, 2.1}


def test_without_native_operators_there_is_nothing_to_set_floors_by(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(guard.build, "implementation", lambda device: "pytorch")
    monkeypatch.setattr(guard.build, "shortfall", lambda device: "no compiler was found: install g++")
    result = run("--floors", str(tmp_path / "floors.json"), "--update")
    assert result.exit_code == 2
    assert "--update wants native operators to measure: no compiler was found: install g++" in result.output
    assert not (tmp_path / "floors.json").exists()


def test_a_device_without_floors(tmp_path, measured):
    result = run("--floors", str(tmp_path / "none.json"), "--strict")
    assert result.exit_code == 0
    assert "there are no floors for cpu yet: set them with --update" in result.output


def test_new_cases_have_no_floor_yet():
    verdicts = judge({"a": 1.0, "b": 2.0, "c": 0.5}, {"a": 1.0, "c": 0.6})
    assert verdicts == [Verdict("a", 1.0, 1.0), Verdict("b", 2.0, None), Verdict("c", 0.5, 0.6)]
    assert [v.low for v in verdicts] == [False, False, True]
    assert conclusion(verdicts, "cpu").startswith("1 ratio of 2 below the floor")


@pytest.mark.parametrize("text", ["[", "[1]", '{"cpu": {"a": "fast"}}', '{"cpu": {"a": null}}', '{"cpu": 3}'])
def test_refuses_a_file_that_holds_no_floors(tmp_path, text):
    path = tmp_path / "floors.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"floors.json holds no floors \(.*\): make them anew with --update"):
        read(path)


def test_the_floors_that_are_kept_are_of_cases_that_are_watched(monkeypatch):
    monkeypatch.undo()
    kept = read(guard.FLOORS)
    for device_type, table in kept.items():
        assert set(table) <= {str(case) for case in guarded(device_type)}
        assert all(floor > 0 for floor in table.values())
