import json

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from benchmarks import speed, step

TINY = "--resolution 8 --classes 2 --batch 2 --iterations 1 --threads 1"
SMALL = "--set denoiser.hidden=16 --set denoiser.depth=1 --set denoiser.heads=2 --set sampling.steps=2"


@pytest.fixture(autouse=True)
def _briefly(monkeypatch):
    monkeypatch.setattr(speed, "PEAK_SECONDS", 0.0)


def _run(text):
    return CliRunner().invoke(step.main, [*TINY.split(), *text.split()])


def test_prints_a_table_or_json():
    run = _run(f"--model dit-s/2 {SMALL}")
    assert run.exit_code == 0, run.output
    for words in ("dit-s/2, 8x8 pixels, 2 classes, batch 2", "denoise", "sampling", "a product of", "MiB"):
        assert words in run.output
    found = json.loads(_run(f"--model dit-s/2 {SMALL} --json").stdout)
    assert set(found) == {"batch", "phase_seconds", "phase_intervals", "sample_seconds", "peak_bytes"}
    assert found["phase_intervals"] == {"denoise": 1} and found["sample_seconds"] > 0


def test_a_model_that_makes_no_pictures_has_no_row_of_sampling():
    small = "model_channels=8 mult=1 res_blocks=1 groups=8 heads=1 head_channels=0 attention=1"
    run = _run("--model noise-classifier " + " ".join(f"--set classifier.{text}" for text in small.split()))
    assert run.exit_code == 0, run.output
    assert "classify" in run.output or "training" in run.output
    assert "sampling" not in run.output


def test_refuses_in_one_sentence():
    run = _run("--model dit-s/16")
    assert run.exit_code == 2
    assert "patches of 16 pixels do not divide pictures of 8x8" in run.output


@pytest.mark.parametrize("packed", [False, True])
def test_products_are_counted_by_shape(packed):
    x, w = torch.randn(2, 3, 16), torch.randn(32, 16)

    def call():
        return torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "") if packed else F.linear(x, w)

    count, products = speed.counted(call)
    assert count == products[6, 16, 32] == 2 * 6 * 16 * 32


def test_attention_on_a_cpu_counts():
    """Two products forward; backward four, and one that computes the weights again."""
    q, k, v = (torch.randn(2, 3, 8, 4, requires_grad=True) for _ in range(3))
    one = 2 * 2 * 3 * 8 * 8 * 4
    assert speed.operations(lambda: F.scaled_dot_product_attention(q, k, v)) == 2 * one
    assert speed.operations(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == 7 * one


def test_the_peak_is_that_of_the_fastest_product_that_matters(monkeypatch):
    durations = iter([2.0, 1.0])
    monkeypatch.setattr(speed, "fastest", lambda call, budget, device: next(durations))
    products = speed.Products({(4, 4, 4): 1000, (8, 4, 4): 2000, (2, 2, 2): 16})
    shape, peak = speed.product_peak(products, torch.device("cpu"), torch.float32)
    assert shape == "a product of 8 x 4 and 4 x 4, float32" and peak == 2 * 8 * 4 * 4
