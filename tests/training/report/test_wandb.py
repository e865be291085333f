"""--wandb, with a stand-in that records what it is asked to do; and with the package itself, offline, where it is."""

import builtins
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.commands import refused, run, tiny_sets
from torch_utils import checkpoint
from training.report.wandb import FILE, Wandb, check


class StandIn(ModuleType):
    """As much of the package as is used."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, str | None]] = []
        self.alerts: list[str] = []
        self.finished = 0
        self.summary: dict[str, Any] = {}
        self.id = ""
        self.Settings, self.Image = dict, self.shown
        self.refuses: Exception | None = None

    def shown(self, path: str) -> str:
        assert Path(path).is_file()
        return f"picture {Path(path).name}"

    def init(self, **given: Any) -> "StandIn":
        if self.refuses:
            raise self.refuses
        self.id = given["id"] or f"id{len(self.runs)}"
        self.runs.append(given)
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def alert(self, title: str, text: str) -> None:
        self.alerts.append(title)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch) -> StandIn:
    package = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def train(tmp_path: Path, *more: str):
    return run("--data", "demo:16", "--max-images", "40", "--outdir", str(tmp_path), *more, *tiny_sets(pace__kimg=0.06))


def begun(folder: Path, project: str) -> Wandb:
    board = Wandb(folder, project, {"loss": {"gamma": 1.0}})
    board.close()
    return board


def test_a_run_is_shown_there(tmp_path, wandb):
    result = train(tmp_path / "with", "--wandb", "faces", "--gamma", "9999")
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "with").iterdir()
    (start,) = wandb.runs
    assert (start["project"], start["name"], start["dir"]) == ("faces", folder.name, str(folder))
    assert start["resume"] == "allow" and start["settings"] == {"console": "off"}
    assert start["config"] == json.loads((folder / "config.json").read_text())
    assert wandb.metrics == [("seen", None), ("*", "seen")] and wandb.finished == 1
    ticks = [values for values in wandb.logged if "loss/G" in values]
    records = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(t["seen"], t["loss/G"]) for t in ticks] == [(r["seen"], r["loss/G"]["mean"]) for r in records]
    pictures = [(v["seen"], v.get("reals") or v["fakes"]) for v in wandb.logged if "reals" in v or "fakes" in v]
    samples = "picture fakes-000000.0.png"
    assert pictures == [(0, "picture reals.png"), (0, samples), (60, samples)]
    assert any("samples/diversity" in values for values in wandb.logged)
    assert "train.py" in wandb.summary["command"] and "gamma" in wandb.summary["config"]
    assert wandb.alerts == ["gamma is far from the rule"]

    assert train(tmp_path / "without", "--gamma", "9999").exit_code == 0 and len(wandb.runs) == 1
    networks = [next((tmp_path / name).glob("*/network-*.safetensors")) for name in ("with", "without")]
    shown, unshown = (checkpoint.load(path)[0] for path in networks)
    assert shown.keys() == unshown.keys() and all(torch.equal(shown[name], unshown[name]) for name in shown)


def test_a_resumed_run_goes_on_there(tmp_path, wandb):
    begun(tmp_path, "faces")
    assert json.loads((tmp_path / FILE).read_text()) == {"project": "faces", "id": "id0"}
    begun(tmp_path, "faces")
    begun(tmp_path, "others")  # another project has another run
    assert [start["id"] for start in wandb.runs] == [None, "id0", None]
    assert json.loads((tmp_path / FILE).read_text()) == {"project": "others", "id": "id2"}


def test_without_the_package_nothing_begins(tmp_path, monkeypatch):
    honest = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "wandb":
            raise ModuleNotFoundError("No module named 'wandb'")
        return honest(name, *arguments)

    sentence = "--wandb needs a package that is not installed: pip install wandb, or leave the option out"
    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(train(tmp_path / "runs", "--wandb", "faces")) == sentence
    assert not (tmp_path / "runs").exists()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))  # what a folder called wandb passes for
    assert refused(train(tmp_path / "runs", "--wandb", "faces")) == sentence


def test_a_project_has_a_name(tmp_path):
    with pytest.raises(ValueError, match=r"^--wandb is empty: name a project, or leave the option out$"):
        check(" ")


def test_it_says_why_it_cannot_begin(tmp_path, wandb):
    wandb.refuses = RuntimeError("api_key not configured (no-tty).")
    sentence = (
        "wandb cannot begin (api_key not configured (no-tty)): "
        "run `wandb login`, set WANDB_MODE=offline, or leave --wandb out"
    )
    assert refused(train(tmp_path, "--wandb", "faces")) == sentence
    assert not list(tmp_path.iterdir())


def test_the_package_itself_offline(tmp_path, monkeypatch):
    real = pytest.importorskip("wandb")
    if not hasattr(real, "init"):
        pytest.skip("wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from tests.imaging.pictures import picture

    picture(8, 8).save(tmp_path / "fakes.png")
    names = []
    for seen in (1000, 2000):  # begun, and resumed
        board = Wandb(tmp_path, "faces", {"loss": {"gamma": 1.0}})
        board.text("command", "python train.py", 0)
        board.scalars({"loss/G": 0.5}, seen)
        board.picture("fakes", tmp_path / "fakes.png", seen)
        board.alarm("D has won", "try more images", seen)
        board.close()
        names.append(json.loads((tmp_path / FILE).read_text())["id"])
    assert names[0] == names[1]
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{names[0]}/run-{names[0]}.wandb"))
    assert files and all(file.stat().st_size for file in files)
