"""--model with a second model in the table: "tiny" and "large", with a setting of their own and without --gamma."""

from dataclasses import replace

import pytest

from models.families import FAMILIES
from tests.commands import refused, run
from tests.training.runs import train
from torch_utils import checkpoint, runs
from torch_utils.config import flag
from training import courses
from training import plan as plans
from training.config import RunConfig
from training.recipe import Recipe
from training.trial import check_passes


class OtherConfig(RunConfig):
    steps: int = flag(50, "--denoising", "Training", "steps", ge=1)


@pytest.fixture(autouse=True)
def _two_models(monkeypatch):
    stylegan2, *_ = courses.COURSES
    family = replace(FAMILIES["stylegan2"], name="other", title="Other", published={})
    other = replace(stylegan2, title="Other", family=family, config=OtherConfig, models={"tiny": {}, "large": {}})
    monkeypatch.setattr(courses, "COURSES", (stylegan2, other))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), pace__kimg=0.02, metrics="none")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "huge"], "--model got 'huge', expected one of: stylegan2, tiny, large"),
        (["--model", "tiny", "--gamma", "5"], "--gamma does not apply to tiny, only to StyleGAN2: leave it out"),
        (["--denoising=3"], "--denoising does not apply to stylegan2, only to Other: leave it out"),
        (["--set", "steps=3"], "--set steps does not apply to stylegan2, only to Other: leave it out"),
        (["--model=large", "--set", "loss.mixing=0"], "--set loss.mixing does not apply to large, only to StyleGAN2"),
        (["--model", "tiny", "--gama", "5"], "No such option '--gama'"),
        (["--resume", "nowhere"], "nowhere is not a run to resume"),
    ],
)
def test_options_of_another_model_are_refused(arguments, sentence):
    assert sentence in refused(run(*arguments))


def test_the_help_shows_the_options_of_the_model():
    tiny, usual = run("--model", "tiny", "--help").output, run("--help").output
    assert "--denoising" in tiny and "--kimg" in tiny and "--gamma FLOAT" not in tiny
    assert "--denoising" not in usual and "--gamma FLOAT" in usual


def test_a_file_decides_the_model(finished, tmp_path):
    network = runs.newest_in(finished)
    for option in (["--resume", str(finished)], ["--transfer", str(network)], ["--transfer", str(finished)]):
        assert refused(run("--model", "tiny", *option)) == (
            f"--model is tiny, but {option[1]} holds a stylegan2: leave --model out"
        )
        assert "--gamma" in run(*option, "--help").output
    tensors, metadata = checkpoint.load(network)
    for model, found in ("large", "large"), ("gone", "tiny"):  # the first of its family for a name that is unknown
        checkpoint.save(
            tmp_path / "x.safetensors", tensors, metadata | {"family": "other", "training": {"model": model}}
        )
        assert courses.name_for(None, None, str(tmp_path / "x.safetensors"), tmp_path) == found
    assert courses.name_for(None, None, "ffhq256", tmp_path) == "stylegan2"  # by the name alone
    assert courses.name_for("tiny", None, "ffhq256x", tmp_path) == "tiny"
    assert courses.name_for("large", None, str(tmp_path / "x.safetensors"), tmp_path) == "large"


def test_states_of_versions_with_one_model_are_of_a_stylegan2():
    assert [courses.name_in(training) for training in ({}, {"model": "tiny"}, None, {"model": 5})] == [
        "stylegan2", "tiny", "stylegan2", "",
    ]  # fmt: skip


def test_what_a_model_cannot_do_is_refused(monkeypatch, tmp_path):
    stylegan2, _ = courses.COURSES
    monkeypatch.setattr(courses, "COURSES", (replace(stylegan2, take=None, recipe=lambda *arguments: Recipe()),))
    with pytest.raises(ValueError, match="--transfer does not apply to stylegan2: leave it out"):
        plans.begin({"data.path": "demo:16", "device": "cpu"}, tmp_path, "x.safetensors")
    config = plans.begin({"data.path": "demo:16", "device": "cpu"}, tmp_path).config
    for option in ("compile", "cuda_graphs"):
        with pytest.raises(ValueError, match=f"--{option.replace('_', '-')} does not apply to stylegan2: leave it out"):
            check_passes(config.model_copy(update={option: True}))
