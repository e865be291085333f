"""Files that an earlier version wrote: opened, resumed, sampled, judged and reported as they were then."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import evaluate
import generate
import train
from models.families import read_network
from torch_utils import checkpoint
from training.report import page

HERE = Path(__file__).parent
THEN = json.loads((HERE / "after" / "digests.json").read_text())
NETWORK = HERE / "run" / "network-000000.0.safetensors"
FINAL = "network-000000.1.safetensors"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(script, *arguments: object) -> str:
    result = CliRunner().invoke(script.main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def same_machine() -> bool:
    """Whether sums are rounded here as they were when the files were written."""
    return (torch.__version__, torch.backends.cpu.get_cpu_capability()) == (THEN["torch"], THEN["cpu"])


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Path:
    """The run folder after it was resumed to its end, as a user does."""
    folder = tmp_path_factory.mktemp("runs") / "00000-demo16-demo"
    shutil.copytree(HERE / "run", folder)
    run(train, "--resume", folder)
    return folder


def test_a_run_ends_as_it_would_have_ended(resumed):
    mine, theirs = (checkpoint.load(folder / FINAL)[0] for folder in (resumed, HERE / "after"))
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        difference = (mine[name].float() - tensor.float()).norm() / tensor.float().norm().clamp_min(1e-3)
        assert difference < 2e-3, (name, difference)
    if same_machine():  # bit for bit, optimizers and all
        tensors, _ = checkpoint.load(resumed / "state.safetensors")
        different = [name for name, was in THEN["state"].items() if name not in tensors or digest(tensors[name]) != was]
        assert not different


def test_its_statistics_go_on(resumed):
    mine, theirs = (
        [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
        for folder in (resumed, HERE / "after")
    )
    assert [line["seen"] for line in mine] == [line["seen"] for line in theirs]
    for name in ("loss/G", "loss/D pair", "path/length", "augment/p"):
        for one, other in zip(mine, theirs, strict=True):
            assert (name in one) == (name in other)
            assert name not in one or one[name]["mean"] == pytest.approx(other[name]["mean"], rel=1e-3), name


def test_its_metric_is_judged_as_then(resumed):
    mine, theirs = (
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1]) for folder in (resumed, HERE / "after")
    )
    assert (mine["seen"], mine["metric"]) == (theirs["seen"], theirs["metric"])
    assert mine["value"] == pytest.approx(theirs["value"], rel=1e-3)


def test_a_network_is_judged_as_then(tmp_path):
    network = shutil.copy(NETWORK, tmp_path)
    then = json.loads((HERE / "after" / "swd.json").read_text())
    options = ["--metrics", "swd64", "--seed", "3", "--device", "cpu", "--json", "--outdir", str(tmp_path)]
    output = run(evaluate, "--network", network, "--data", "demo:16", *options)
    found = json.loads(output[output.index("{") :])
    assert found["results"]["swd64"] == pytest.approx(then["results"]["swd64"], rel=1e-4)


@pytest.mark.parametrize(
    ("network", "folder", "seeds"), [(NETWORK, "pictures", "0-3"), ("assets/faces64.safetensors", "faces", "0-1")]
)
def test_a_seed_has_its_picture(tmp_path, network, folder, seeds):
    run(generate, "--network", network, "--seeds", seeds, "--psi", "0.7", "--device", "cpu", "--outdir", tmp_path)
    for path in sorted((HERE / folder).glob("*.png")):
        mine, theirs = (np.asarray(Image.open(each)).astype(int) for each in (tmp_path / path.name, path))
        assert abs(mine - theirs).max() <= (0 if same_machine() else 1), path.name


def test_its_networks_are_whole():
    file = read_network(NETWORK)
    assert sorted(file.parts) == ["D", "G", "G_ema"]
    for name in file.parts:
        file.part(name)


def test_its_report_is_written(tmp_path):
    folder = tmp_path / "00000-demo16-demo"
    shutil.copytree(HERE / "run", folder)
    text = page.write(folder).read_text(encoding="utf-8")
    assert "swd64" in text and "243.7" in text
