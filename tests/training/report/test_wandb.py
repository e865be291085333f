"""--wandb, with a mock of the package; and with the package itself, offline, if it is installed."""

import json
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, call

import pytest
import torch

from tests.commands import refused, run, tiny_sets
from tests.imaging.pictures import picture
from torch_utils import checkpoint
from training.report.boards import FILE, Wandb, check_wandb


@pytest.fixture
def wandb(monkeypatch) -> MagicMock:
    """The package. Its run keeps the id that it is given, and has a summary."""
    package = MagicMock()
    begun = package.init.return_value
    begun.summary, begun.id = {}, "id0"
    package.Image.side_effect = lambda path: Path(path).name
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def train(tmp_path: Path, *more: str):
    return run("--data", "demo:16", "--max-images", "40", "--outdir", str(tmp_path), *more, *tiny_sets(pace__kimg=0.06))


def test_a_run_is_shown_there_and_no_number_changes(tmp_path, wandb):
    assert train(tmp_path / "with", "--wandb", "faces", "--gamma", "9999").exit_code == 0
    (folder,) = (tmp_path / "with").iterdir()
    ((_, given),) = wandb.init.call_args_list
    assert (given["project"], given["name"], given["dir"]) == ("faces", folder.name, str(folder))
    assert given["id"] is None and given["resume"] == "allow"
    assert given["config"] == json.loads((folder / "config.json").read_text())
    begun = wandb.init.return_value
    assert begun.define_metric.call_args_list == [call("seen"), call("*", step_metric="seen")]
    begun.finish.assert_called_once()
    logged = [arguments[0] for arguments, _ in begun.log.call_args_list]
    records = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    ticks = [(values["seen"], values["loss/G"]) for values in logged if "loss/G" in values]
    assert ticks == [(record["seen"], record["loss/G"]["mean"]) for record in records]
    pictures = [(values["seen"], values.get("reals") or values.get("fakes")) for values in logged]
    samples = "fakes-000000.0.png"
    assert [shown for shown in pictures if shown[1]] == [(0, "reals.png"), (0, samples), (60, samples)]
    assert any("samples/diversity" in values for values in logged)
    assert "train.py" in begun.summary["command"] and "gamma" in begun.summary["config"]
    assert [named["title"] for _, named in begun.alert.call_args_list] == ["gamma is far from the rule"]

    assert train(tmp_path / "without", "--gamma", "9999").exit_code == 0 and wandb.init.call_count == 1
    networks = [next((tmp_path / name).glob("*/network-*.safetensors")) for name in ("with", "without")]
    shown, unshown = (checkpoint.load(path)[0] for path in networks)
    assert shown.keys() == unshown.keys() and all(torch.equal(shown[name], unshown[name]) for name in shown)


def test_a_resumed_run_goes_on_there(tmp_path, wandb):
    for project in ("faces", "faces", "others"):  # another project has another run
        Wandb(tmp_path, project, {})
        assert json.loads((tmp_path / FILE).read_text()) == {"project": project, "id": "id0"}
    assert [given["id"] for _, given in wandb.init.call_args_list] == [None, "id0", None]


@pytest.mark.parametrize("package", [None, ModuleType("wandb")], ids=["missing", "a folder of that name"])
def test_without_the_package_nothing_begins(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, "wandb", package)
    sentence = "--wandb needs a package that is not installed: pip install wandb, or leave the option out"
    assert refused(train(tmp_path / "runs", "--wandb", "faces")) == sentence
    assert not (tmp_path / "runs").exists()


def test_a_project_has_a_name():
    with pytest.raises(ValueError, match=r"^--wandb is empty: name a project, or leave the option out$"):
        check_wandb(" ")


def test_it_says_why_it_cannot_begin(tmp_path, wandb):
    wandb.init.side_effect = RuntimeError("api_key not configured (no-tty).")
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
    picture(8, 8).save(tmp_path / "fakes.png")
    names = []
    for seen in (1000, 2000):  # begun, and resumed
        board = Wandb(tmp_path, "faces", {"loss": {"gamma": 1.0}})
        board.text("command", "python train.py", seen)
        board.scalars({"loss/G": 0.5}, seen)
        board.picture("fakes", tmp_path / "fakes.png", seen)
        board.alarm("D has won", "try more images", seen)
        board.close()
        names.append(json.loads((tmp_path / FILE).read_text())["id"])
    assert names[0] == names[1]
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{names[0]}/run-{names[0]}.wandb"))
    assert files and all(file.stat().st_size for file in files)
