"""Whole runs of the smallest denoising networks: resumed, with several averages, transferred, in several processes."""

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

import convert
import evaluate
from metrics.catalog import parse
from metrics.in_loop import Judge
from models.diffusion.choices import DenoisingOptions
from models.families import load_network, read_network
from tests.commands import refused, run
from tests.training.diffusion.recipes import SMALLEST
from tests.training.launches import launch
from tests.training.runs import finish
from tests.training.test_processes import folder_of
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint, runs
from training import plan as plans
from training import session

BASE = {
    "data.path": "demo:16",
    "data.max_images": 40,
    "preset": "demo",
    "device": "cpu",
    "precision": "fp32",
    "pace.batch": 4,
    "pace.tick": 0.02,
    "pace.snap": 3,
    "pace.kimg": 0.06,
    "pace.sheet": 4,
    "sampling.steps": 2,
    "optimizer.warm_up": 0.0,
}
VARIANTS = {
    "flow": {},
    "eps": {"denoiser.noise.objective": "eps", "denoiser.noise.learned_variance": True},
    "v": {"denoiser.noise.objective": "v", "denoiser.noise.schedule": "cosine"},
    "x0": {"denoiser.noise.objective": "x0"},
}


def settings(model="dit-ti/4", **more):
    return BASE | SMALLEST[model] | {"model": model} | more


def trained(outdir, stop_at=None, model="dit-ti/4", **more):
    return finish(plans.begin(settings(model, **more), outdir), stop_at)


@pytest.mark.parametrize("model", ["dit-ti/4", "adm"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_resumes_bit_for_bit(model, variant, tmp_path):
    """Stopped within a tick; the U-Net with dropout, and both with two averages."""
    more = VARIANTS[variant] | {"average.kimg": (0.01, 0.05)} | ({"denoiser.dropout": 0.2} if model == "adm" else {})
    whole = trained(tmp_path / "whole", None, model, **more)
    stopped = trained(tmp_path / "stopped", 8, model, **more)
    finish(plans.resume(str(stopped), {}, stopped.parent))
    assert_equal_runs(whole, stopped)
    state, _ = checkpoint.load(whole / "state.safetensors")
    assert any(".ema_2." in key for key in state) and any("exp_avg_sq" in key and state[key].any() for key in state)


def call(script, *words):
    result = CliRunner().invoke(script.main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_several_averages_are_files_parts(tmp_path):
    outdir = tmp_path / "runs"
    words = [f"--set={name}={value}" for name, value in settings().items() if name not in ("model", "data.path")]
    result = run(
        "--data", "demo:16", "--outdir", str(outdir), "--model", "dit-ti/4", *words, "--set=average.kimg=0.5,2"
    )
    assert result.exit_code == 0, result.output
    folder = folder_of(outdir)
    assert json.loads((folder / "config.json").read_text())["average"]["kimg"] == [0.5, 2.0]
    file = read_network(runs.newest_in(folder))
    assert list(file.parts) == ["ema", "ema_2", "net"] and file.shown == "ema"
    weights = [load_network(folder, which=part).final_layer.linear.weight for part in file.parts]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    values = []
    for part in file.parts:  # each is judged by itself
        alone = tmp_path / f"{part}.safetensors"
        call(convert, "--source", folder, "--dest", alone, "--only", part)
        assert read_network(alone).shown == part
        judged = tmp_path / part
        call(evaluate, "--network", alone, "--steps", 2, "--metrics", "swd20", "--device", "cpu", "--outdir", judged)
        values.append(json.loads((judged / "metrics.jsonl").read_text())["value"])
    assert len(set(values)) == 3


def test_transfer_takes_weights_and_refuses_other_classes(tmp_path):
    first = trained(tmp_path / "first", **{"data.labels": "none", "average.kimg": (0.01, 0.05)})
    plan = plans.begin(
        settings(**{"data.labels": "none", "pace.kimg": 0.004, "optimizer.lr": 1e-30}), tmp_path / "second", str(first)
    )
    second = finish(plan)
    before, start = (
        checkpoint.load(path)[0] for path in (runs.newest_in(first), second / "network-000000.0.safetensors")
    )
    assert all(torch.equal(before[name], start[name]) for name in before if name.startswith("net."))
    assert "the weights of ema, net are those of" in (second / "log.txt").read_text()
    words = [f"--set={name}={value}" for name, value in settings().items() if name not in ("model", "data.path")]
    said = refused(run("--data", "demo:16", "--outdir", str(tmp_path / "x"), "--transfer", str(first), *words))
    assert "its denoiser has classes 0: take another network" in said and "\n" not in said


@pytest.mark.parametrize("model", ["dit-ti/4", pytest.param("adm", marks=pytest.mark.proof)])
def test_two_processes_have_the_gradients_of_one(model, tmp_path):
    # With a rate of next to nothing the weights stay, and AdamW's moments hold the gradients.
    still = {"optimizer.lr": 1e-12, "pace.kimg": 0.016, "denoiser.noise.objective": "v"}
    alone = trained(tmp_path / "alone", None, model, **still)
    base = {name: ",".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings(model, **still).items()}
    del base["model"]
    ended = launch(2, tmp_path / "logs", "--outdir", str(tmp_path / "runs"), "--model", model, base=base)
    assert not ended.codes, ended.output
    together = folder_of(tmp_path / "runs")
    (a, about_a), (b, about_b) = (checkpoint.load(folder / "state.safetensors") for folder in (alone, together))
    assert (about_a["world"], about_b["world"]) == (1, 2) and a.keys() == b.keys()
    moments = [key for key in a if key.endswith("exp_avg")]
    assert sum(bool(a[key].any()) for key in moments) >= 2
    for key in moments:
        scale = float(a[key].abs().max())
        torch.testing.assert_close(b[key], a[key], rtol=1e-4, atol=1e-5 * scale + 1e-12, msg=key)
    mine, theirs = (json.loads((f / "stats.jsonl").read_text().splitlines()[-1]) for f in (alone, together))
    names = [name for name in mine if name.startswith("loss/")]
    assert len(names) > 6 and all(mine[name]["count"] == theirs[name]["count"] for name in names)
    assert all(
        mine[name]["mean"] == pytest.approx(theirs[name]["mean"], rel=1e-4) for name in names if mine[name]["count"]
    )


def test_path_length_is_refused_before_anything_is_learned(tmp_path):
    judge = Judge(SimpleNamespace(metrics=[parse("ppl2_wend")]), "", DenoisingOptions(), None)
    with pytest.raises(ValueError, match=r"^ppl2_wend measures steps of latents w, which only networks with styles"):
        session.train(plans.begin(settings(), tmp_path / "runs"), judge=judge)
    assert not list((tmp_path / "runs").iterdir())
