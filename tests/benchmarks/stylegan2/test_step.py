import json
from functools import partial

import pytest
import torch
from click.testing import CliRunner

from benchmarks import speed
from benchmarks import step as general
from benchmarks.stylegan2 import step
from benchmarks.stylegan2.step import StepSetting, Times

TINY = StepSetting(
    resolution="16x8", channel_base=64, channel_max=8, mapping_layers=2, batch=4, iterations=2, threads=1
).resolved()
FLAGS = "--resolution 16x8 --channel-base 64 --channel-max 8 --mapping-layers 2 --batch 4 --iterations 1 --threads 1"


@pytest.fixture(autouse=True)
def _small_convolutions(monkeypatch):
    monkeypatch.setattr(speed, "PEAK_CHANNELS", (8,))
    monkeypatch.setattr(speed, "PEAK_SIZES", (4,))
    monkeypatch.setitem(speed.PEAK_BATCHES, "cpu", (4,))
    monkeypatch.setattr(speed, "PEAK_SECONDS", 0.0)


def test_a_phase_is_weighted_by_its_frequency():
    seconds = {"Gmain": 1.0, "Gpath": 2.0, "Dmain": 3.0, "Dr1": 8.0}
    intervals = {"Gmain": 1, "Gpath": 4, "Dmain": 1, "Dr1": 16}
    times = Times(10, seconds, intervals, sample_seconds=0.5, peak_bytes=0)
    assert times.speeds == {"training": 10 / (1 + 2 / 4 + 3 + 8 / 16), "sampling": 20}


@pytest.mark.parametrize("name", [None, "checkpoint-activations", "aug"])
def test_measures_every_phase_with_the_intervals_of_training(name):
    times, recipe, _ = step.measure(TINY, name)
    assert times.phase_intervals == {"Gmain": 1, "Gpath": 4, "Dmain": 1, "Dr1": 16}
    assert all(t > 0 for t in (*times.phase_seconds.values(), times.sample_seconds))
    assert times.peak_bytes > 2**20
    assert recipe.D.recompute == (name == "checkpoint-activations")
    assert recipe.config.augment.mode == ("fixed" if name == "aug" else "none")


def test_passes_that_cannot_be_compiled_are_not_timed(monkeypatch):
    monkeypatch.setattr(general, "compile_passes", lambda recipe: "--compile does not work here (no): training goes on")
    with pytest.raises(ValueError, match=r"--compile does not work here \(no\)"):
        step.measure(TINY, "compile")


def test_operations_follow_from_those_of_the_networks():
    """Gmain: G forward and two gradients, D forward and one; Dmain: G forward, D forward and its gradients, twice."""
    recipe = StepSetting(resolution="16", channel_base=1024, channel_max=64, mapping_layers=1, batch=4).recipe()
    counted = {phase.name: speed.operations(partial(general.take, recipe, phase, 0)) for phase in recipe.phases}
    G = speed.operations(lambda: step.sample(recipe.G_ema, TINY.batch, 0))
    D = speed.operations(lambda: recipe.D(torch.zeros(4, 3, 16, 16)))
    # The first layers need no gradient of their input, and mixing maps a second z: hence the slack.
    assert counted["Gmain"] == pytest.approx(3 * G + 2 * D, rel=0.05)
    assert counted["Dmain"] == pytest.approx(G + 6 * D, rel=0.05)
    assert counted["Dr1"] > 4 * D
    assert counted["Gpath"] > 2 * G


def test_prints_a_table_or_json():
    table = CliRunner().invoke(step.main, FLAGS.split())
    assert table.exit_code == 0, table.output
    for words in (
        "16x8 pixels",
        "Gpath",
        "GFLOP/image",
        "of peak",
        "a 3x3 convolution of 4 images of 8 x 4 x 4",
        "MiB",
    ):
        assert words in table.output
    found = json.loads(CliRunner().invoke(step.main, [*FLAGS.split(), "--json"]).stdout)
    assert set(found) == {"batch", "phase_seconds", "phase_intervals", "sample_seconds", "peak_bytes"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--batch 6", "--batch-gpu 6 is not a multiple of the minibatch-std group"),
        ("--resolution 65", "StyleGAN2 cannot have the size 65x65"),
        ("--resolution big", "'big' is not a size"),
        (
            "--precision fp16",
            "--precision fp16: on a CPU, float16 is hundreds of times slower than float32; choose bf16",
        ),
    ],
)
def test_refuses_in_one_sentence(flags, words):
    result = CliRunner().invoke(step.main, flags.split())
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
