"""--engine onnxruntime: PyTorch's pictures within 1e-5, a cache that is not believed blindly, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import generate
import interpolate
import project
from models import engines, graphformats, graphs
from models.families import load_sampler
from models.graphs import ExportGraph
from models.sampler import Portable
from sampling import command
from tests.networks import save_noisy, save_tiny

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
CLASSES = ("cat", "dog", "cow")
STYLES = [
    {},
    {"noise_mode": "none", "psi": 0.5},
    {"noise_mode": "random", "noise_strength": 0.5},
    {"noise_strength": 2.0, "psi_from": 2, "psi": 0.7},
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache of this file's tests, which record each network once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def kept_there(cache, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: cache)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Tiny networks with classes, the generator's images wider than high."""
    folder = tmp_path_factory.mktemp("networks")
    save_tiny(folder / "gan.safetensors", CLASSES, classes=3, height=8, width=12)
    for name in ("dit", "adm"):
        save_noisy(folder / f"{name}.safetensors", name, classes=3, class_names=CLASSES)
    return folder


class Double(torch.nn.Module):
    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(offset), requires_grad=False)

    def forward(self, z):
        return 2 * z + self.offset


def double(offset=0.0):
    return ExportGraph(Double(offset), "y", lambda batch: {"z": torch.ones(batch, 3)}, {}, "toy")


def moved(sampler):
    assert isinstance(sampler, Portable)
    return sampler.run_by(engines.open_session)


def apart(one, other, seeds=(0, 1)):
    """The largest difference between two samplers' images before rounding, together and one by one."""
    found = []
    for some in [list(seeds), *([seed] for seed in seeds)]:
        asked = one.requests(some)
        ws = one.map(one.latents(asked), asked)
        found.append(float((one.render(ws, asked) - other.render(ws, asked)).abs().max()))
    return max(found)


@pytest.mark.parametrize("options", STYLES, ids=str)
def test_a_tiny_generator_with_classes_and_rectangles(networks, options):
    plain = load_sampler(networks / "gan.safetensors")
    usual, other = (each.with_options(type(plain.options)(**options)) for each in (plain, moved(plain)))
    assert 0 < apart(usual, other) < 1e-5  # 0 would be PyTorch itself
    assert apart(usual, moved(plain)) > 1e-2 or not options, "the options change these pictures"


@pytest.mark.parametrize(
    ("name", "options"), [("dit", {}), ("dit", {"cfg_scale": 2.0, "solver": "heun"}), ("adm", {})], ids=str
)
def test_a_tiny_denoiser(networks, name, options):
    usual, calls = load_sampler(networks / f"{name}.safetensors", steps=10, **options), []

    def engine(graph):
        run = engines.open_session(graph)
        return lambda inputs: calls.append(graph) or run(inputs)

    assert isinstance(usual, Portable)
    assert apart(usual, usual.run_by(engine)) < 1e-5 and len(calls) >= 3 * 10


def test_the_bundled_network(monkeypatch):
    monkeypatch.undo()  # the user's cache, since recording this one takes ten seconds
    usual = load_sampler(command.BUNDLED)
    assert 0 < apart(usual, moved(usual), range(5)) < 1e-5


def test_a_network_is_recorded_once_and_a_damaged_graph_again(cache, monkeypatch):
    recorded = []
    record = graphs.record
    monkeypatch.setattr(graphs, "record", lambda graph: recorded.append(graph) or record(graph))

    def answer(graph):
        found = engines.open_session(graph)({"z": torch.ones(2, 3)})
        assert torch.equal(found, torch.full([2, 3], 2 + float(graph.module.offset)))
        return len(recorded)

    before = set(cache.glob("graphs/*"))
    assert [answer(double()), answer(double())] == [1, 1]
    (path,) = set(cache.glob("graphs/*")) - before
    whole = path.read_bytes()
    middle = len(whole) // 2
    for n, damaged in enumerate((b"", whole[:-1], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])):
        path.write_bytes(damaged)
        assert answer(double()) == n + 2
    assert path.read_bytes()[32:] == whole[32:] and answer(double()) == 4
    assert answer(double(1.0)) == 5, "another network"
    monkeypatch.setattr(engines, "_program", lambda: b"another version")
    assert answer(double()) == 6
    assert len(set(cache.glob("graphs/*")) - before) == 2, "an outdated graph is replaced"


def run(script, *words):
    return CliRunner().invoke(script.main, [*map(str, words)], catch_exceptions=False, prog_name=script.__name__)


def test_scripts_make_pictures_with_it_and_say_so_in_the_record(networks, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "resolve_device", lambda name: torch.device("cuda" if name == "auto" else name))
    engine = ["--engine", "onnxruntime", "--network", networks / "gan.safetensors", "--outdir", tmp_path]
    assert run(generate, *engine, "--seeds", "0-2").exit_code == 0
    assert run(interpolate, *engine, "--seeds", "0,1", "--frames", 2, "--format", "gif").exit_code == 0
    for script in ("generate", "interpolate"):
        record = json.loads((tmp_path / f"{script}.json").read_text())
        assert record["options"]["engine"] == "onnxruntime" and record["options"]["device"] == "cpu"
        assert record["onnxruntime"] == __import__("onnxruntime").__version__


def test_what_is_refused(networks, tmp_path, monkeypatch):
    def refusal(*words):
        result = run(generate, "--engine", "onnxruntime", "--network", networks / "dit.safetensors", *words)
        assert result.exit_code == 2
        return result.output.strip().splitlines()[-1]

    where = ["--outdir", tmp_path]
    assert refusal(*where, "--precision", "bf16") == (
        "Error: --engine onnxruntime computes in fp32 only: leave out --precision bf16 or --engine"
    )
    monkeypatch.setattr(command, "resolve_device", torch.device)
    assert refusal(*where, "--device", "cuda") == (
        "Error: --engine onnxruntime computes on a CPU only, and the device is cuda: choose --device cpu, or leave "
        "--engine out"
    )
    monkeypatch.setattr(graphformats, "PACKAGES", ("onnx_runtime_x",))
    assert refusal(*where) == (
        "Error: --engine onnxruntime needs packages that are not installed: pip install onnx_runtime_x"
    )
    monkeypatch.undo()
    monkeypatch.setattr(graphs, "LARGEST", 100)
    assert refusal(*where) == (
        "Error: --engine onnxruntime: ONNX files end at 2 GiB, and this network has 0.0: leave --engine out"
    )


def test_a_script_that_needs_gradients_has_no_such_option():
    assert "No such option" in run(project, "--engine", "onnxruntime").output


def test_onnxruntime_reports_nothing_about_its_user(tmp_path):
    code = "from models import engines, graphs; graphs.open_onnx(b'')"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "onnxruntime" in done.stderr and not list(tmp_path.rglob("*onnxruntime*")), done.stderr
