"""Passwords and signatures in URLs: used, and neither printed nor recorded."""

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import blend
import convert
import evaluate
import generate
import train
from imaging.dataset import DataConfig, open_dataset
from models.families import read_network, save_network
from tests.commands import tiny_sets, zipped
from tests.networks import ON_CPU, save_tiny, tiny_generator
from tests.test_places import trained_elsewhere
from tests.torch_utils.servers import plain
from torch_utils import config as configs
from training.stylegan2.config import StyleGAN2Config

SHOWN = re.compile(r"http://\.\.\.@127\.0\.0\.1:\d+/net\.safetensors\?\.\.\.")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def secret(server):
    """A network that only a URL with a password and a signature leads to."""
    server.answers["net.safetensors"] = plain(save_tiny(Path("net.safetensors")).read_bytes())
    return server.url("net.safetensors").replace("http://", "http://user:hush-password@") + "?signature=hush-signature"


def run(monkeypatch, script, *arguments: str) -> str:
    """Everything that a script prints."""
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *arguments])
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(*folders: str) -> str:
    """The contents of all files, whatever they are."""
    files = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    assert files
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def test_records_of_pictures(secret, monkeypatch):
    said = run(monkeypatch, generate, "--network", secret, "--seeds", "3", *ON_CPU)
    assert SHOWN.search(said) and "hush" not in said + written("out", "cache")
    record = json.loads(Path("out/generate.json").read_text())
    for place in (record["network"], record["options"]["network"]):
        assert SHOWN.fullmatch(place)
    assert re.fullmatch(rf"python generate.py --network '{SHOWN.pattern}' --seeds 3.*", record["command"])


def test_records_of_metrics(secret, monkeypatch):
    data = str(zipped(Path("a.zip")))
    more = ["--data", data, "--metrics", "swd8", "--device", "cpu", "--json"]
    said = run(monkeypatch, evaluate, f"--network={secret}", *more)
    assert "hush" not in said + written("out") and SHOWN.search(written("out"))


def test_networks_made_of_others(secret, monkeypatch):
    monkeypatch.setattr(Path, "samefile", lambda *args: False)  # both parents are one file
    said = run(monkeypatch, blend, "--network", secret, "--with", secret, "--weight", "0.5", "--seeds", "0")
    said += run(monkeypatch, convert, "--source", secret, "--dest", "copy.safetensors")
    said += run(monkeypatch, convert, "--source", secret, "--dest", "hub/")
    Path("all").mkdir()
    for path in (Path("copy.safetensors"), Path("copy.safetensors.json"), Path("hub.json")):
        path.rename(Path("all", path.name))
    assert "hush" not in said + written("out", "all", "hub")


def test_a_run_and_all_that_it_writes(server, secret, monkeypatch):
    server.answers["net.safetensors"] = plain(trained_elsewhere(Path("a.pt")).read_bytes())
    data = ["--data", "demo:16", "--labels", "none", "--outdir", "runs"]
    said = run(monkeypatch, train, "--transfer", secret, *data, *tiny_sets(pace__kimg=0.004))
    assert SHOWN.search(said) and "hush" not in said + written("runs")
    (log,) = Path("runs").glob("*/log.txt")
    assert "\npython train.py --transfer 'http://...@127.0.0.1:" in log.read_text()


def test_a_run_does_not_record_the_password_of_its_data():
    path = "http://user:hush@host/x-{0..9}.tar"
    config = configs.build(StyleGAN2Config, {"data.path": path})
    assert "hush" not in str(configs.to_dict(config)) + configs.table(config)
    assert "http://...@host/x-{0..9}.tar" in configs.table(config)
    recorded = configs.to_dict(config)["data"]["path"]
    with pytest.raises(ValueError) as error:
        open_dataset(DataConfig(path=recorded))
    assert str(error.value) == (
        "http://...@host/x-{0..9}.tar was recorded without its user name and password: give --data with them"
    )


def test_a_network_file_that_knows_secrets_does_not_hand_them_on(monkeypatch):
    """As files of earlier versions do."""
    training = {"data": {"path": "http://user:hush@host/x.tar?hush"}}
    save_network(Path("a.safetensors"), "stylegan2", {"G_ema": tiny_generator()}, {"training": training})
    assert read_network("a.safetensors").metadata["training"]["data"]["path"] == "http://...@host/x.tar?..."
