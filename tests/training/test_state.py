"""States with a right digest whose contents are not those of a run: refused in one sentence that names the file."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.training.runs import train
from torch_utils import checkpoint, runs
from training.recipe import check_moments
from training.state import read_state

Change = Callable[[dict, dict], Any]  # of the tree and the metadata, in place


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("whole"), stop_at=6, augment__mode="ada") / "state.safetensors"


def written(path: Path, tree: Any, metadata: dict) -> runs.Resumable:
    tensors, skeleton = checkpoint.pack(tree)
    checkpoint.save(path, tensors, {"tree": skeleton} | metadata)
    return runs.Resumable(path.parent, path, None)


def parts(whole: Path) -> tuple[dict, dict]:
    tensors, metadata = checkpoint.load(whole)
    tree = checkpoint.unpack(tensors, metadata.pop("tree"))
    return tree, metadata


def changed(whole: Path, tmp_path: Path, change: Change) -> runs.Resumable:
    tree, metadata = parts(whole)
    change(tree, metadata)
    return written(tmp_path / "state.safetensors", tree, metadata)


def put(*place: Any, value: Any) -> Change:
    """Sets a value of the tree; a function makes it of the one that was there."""

    def change(tree: dict, metadata: dict) -> None:
        for key in place[:-1]:
            tree = tree[key]
        tree[place[-1]] = value(tree[place[-1]]) if callable(value) else value

    return change


def about(*place: Any, value: Any) -> Change:
    return lambda tree, metadata: put(*place, value=value)(metadata, {})


def drop(*place: Any) -> Change:
    def change(tree: dict, metadata: dict) -> None:
        for key in place[:-1]:
            tree = tree[key]
        del tree[place[-1]]

    return change


def test_the_whole_state_is_read(whole, tmp_path):
    state = read_state(changed(whole, tmp_path, lambda tree, metadata: None))
    assert (state.clock.iteration, state.clock.seen) == (6, 24) and state.note == ""
    assert state.digest == checkpoint.digest(tmp_path / "state.safetensors")


@pytest.mark.parametrize(("network", "moment"), [("G", "exp_avg"), ("D", "exp_avg_sq")])
@pytest.mark.parametrize("value", [torch.ones(1), lambda t: t[..., None], lambda t: t.double(), lambda t: None, 0.5])
def test_moments_of_other_shapes_never_reach_the_optimizer(whole, tmp_path, network, moment, value):
    where = changed(whole, tmp_path, put("recipe", "optimizers", network, 3, moment, value=value))
    with pytest.raises(ValueError, match=rf"state.safetensors is damaged \(recipe.optimizers.{network}.3.{moment} is "):
        read_state(where)


RECIPE: list[tuple[Change, str]] = [
    (put("recipe", "optimizers", "G", 0, "step", value=torch.tensor(-1.0)), "G.0.step is -1, expected"),
    (put("recipe", "optimizers", "G", 0, "step", value=torch.tensor(1.5)), "G.0.step is 1.5, expected"),
    (put("recipe", "optimizers", "G", 0, "step", value=torch.tensor(math.nan)), "G.0.step is nan, expected"),
    (put("recipe", "optimizers", "G", 0, "step", value=torch.tensor(math.inf)), "G.0.step is inf, expected"),
    (put("recipe", "optimizers", "G", 0, "step", value=torch.ones(3)), "G.0.step is float32 of shape [3], expected"),
    (put("recipe", "optimizers", "D", 1, "exp_avg_sq", value=lambda t: t - 1.0 * (t == t.max())), "D.1.exp_avg_sq has"),
    (drop("recipe", "optimizers", "D", 0), "recipe.optimizers.D lacks 0"),
    (put("recipe", "optimizers", "D", value={}), "recipe.optimizers.D lacks 0"),
    (put("recipe", "optimizers", "D", value=[]), "recipe.optimizers.D is a value of type list, expected"),
    (lambda tree, _: tree["recipe"]["optimizers"]["D"].update({99: {}}), "recipe.optimizers.D has the unknown key 99"),
    (lambda tree, _: tree["recipe"]["optimizers"]["G"][0].update(x=torch.ones(1)), "G.0 has the unknown key x"),
    (drop("recipe", "optimizers", "G"), "recipe.optimizers lacks G"),
    (drop("recipe", "networks", "G_ema"), "recipe.networks lacks G_ema"),
    (drop("recipe", "networks", "G", "synthesis.const"), "recipe.networks.G lacks synthesis.const"),
    (put("recipe", "networks", "G", "synthesis.const", value=torch.ones(2)), "synthesis.const is float32 of shape [2]"),
    (put("recipe", "networks", "D", "from_rgb.bias", value=lambda t: t.half()), "D.from_rgb.bias is float16 of shape"),
    (put("recipe", "path_mean", value=torch.ones(1)), "recipe.path_mean is float32 of shape [1]"),
    (put("recipe", "path_mean", value=torch.tensor(math.nan)), "recipe.path_mean is not finite"),
    (put("recipe", "strength", "p", value=torch.tensor(1.5)), "recipe.strength is not a probability"),
    (put("recipe", "strength", "signs", value=torch.tensor([math.inf, 1.0])), "recipe.strength is not a probability"),
    (put("recipe", "strength", "signs", value=torch.ones(3)), "recipe.strength.signs is float32 of shape [3]"),
    (put("recipe", "skips", "Gmain", value=torch.ones(2, dtype=torch.int32)), "recipe.skips.Gmain is int32 of shape"),
    (put("recipe", "skips", "Gmain", value=torch.tensor([-1, 0, 0], dtype=torch.int32)), "a count below 0"),
    (drop("recipe", "skips", "Dr1"), "recipe.skips lacks Dr1"),
    (lambda tree, _: tree["recipe"].update(more=1), "recipe has the unknown key more"),
    (lambda tree, _: tree["recipe"].update({"\x1b]0;x\nname": 1}), "recipe has the unknown key ?]0;x?name"),
    (put("recipe", value=None), "recipe is a value of type NoneType"),
]  # fmt: skip

CLOCK: list[tuple[Change, str]] = [
    *((put("clock", "seen", value=value), "its clock.seen is not") for value in (-50, 1.5, True, "24", 2**60, 10**400)),
    (put("clock", "seen", value=28), "clock.seen is 28, expected 6 iterations of 4 images"),
    (put("clock", "iteration", value=7), "clock.seen is 24, expected 7 iterations of 4 images"),
    (put("clock", "iteration", value=-6), "its clock.iteration is not what a state has"),
    *((put("clock", "seconds", value=value), "its clock.seconds is not") for value in (math.nan, -1.0, [1])),
    (drop("clock", "seen"), "its clock.seen is not"),
    (lambda tree, _: tree["clock"].update(more=1), "its clock.more is not"),
    (drop("clock"), "its clock is not"),
    (lambda tree, _: tree.update(more=1), "its more is not"),
]

STATISTICS: list[tuple[Change, str]] = [
    (put("stats", "sums", value=lambda t: t[:, 1:]), "stats.sums is float64 of shape"),
    (put("stats", "sums", value=lambda t: t[..., :3]), "stats.sums is float64 of shape"),
    (put("stats", "sums", value=lambda t: torch.cat([t, t])), "stats.sums is float64 of shape"),
    (put("stats", "sums", value=lambda t: t.long()), "stats.sums is int64 of shape"),
    (put("stats", "sums", value=lambda t: t * math.nan), "stats has a count of values that is not"),
    (put("stats", "sums", value=lambda t: t * math.inf), "stats has a count of values that is not"),
    (put("stats", "sums", value=lambda t: -t), "stats has a count of values that is not"),
    (put("stats", "names", value=lambda n: [n[0], *n[:-1]]), "a name twice"),
    (put("stats", "names", value=lambda n: [5, *n[1:]]), "its stats.names.0 is not"),
    (put("stats", "names", value=lambda n: ["a\nb", *n[1:]]), "its stats.names.0 is not"),
    (put("stats", "names", value="loss/G"), "its stats.names is not"),
    (put("stats", "host", value={"x": [1.0]}), "its stats.host.x"),
    (put("stats", "host", value={"x": [10**400, 0, 0, 0]}), "its stats.host.x"),
    (put("stats", "host", value={"x": [math.nan, 0, 0, 0]}), "stats has a count of values that is not"),
    (put("stats", "host", value={"loss/G": [1.0, 0, 0, 0]}), "a name twice"),
    (put("stats", "host", value=[]), "its stats.host is not"),
]

METADATA: list[tuple[Change, str]] = [
    (about("version", value="x"), "its version is not what a state has"),
    (about("version", value=-1), "its version is not what a state has"),
    (about("version", value=True), "its version is not what a state has"),
    (about("version", value=None), "its version is not what a state has"),
    (about("world", value=0), "its world is not what a state has"),
    (about("world", value=2), "stats.sums is float64 of shape"),
    (about("world", value=10**400), "its world is not what a state has"),
    (about("operators", value=[[]]), "its operators is not what a state has"),
    (about("training", value=[]), "its training is not what a state has"),
    (about("training", "loss", value=5), "loss"),
    (about("training", "pace", "batch", value=0), "--batch: got 0: input should be greater"),
    (about("training", "pace", "batch", value="\x1b[0m"), "--batch: got"),
    (about("training", "generator", "w_dim", value=16), "recipe.networks."),
    (about("training", "generator", "w_dim", value=2**60), "generator.w_dim: got 1152921504606846976"),
    (about("training", "generator", "channel_base", value=2**20), "recipe.networks."),
    (about("training", "augment", "mode", value="x" * 10_000), "--aug"),
    (about("data", value=5), "its data is not what a state has"),
    (about("data", "fingerprint", value=5), "its data.fingerprint is not what a state has"),
    (about("data", "images", value=-1), "its data.images is not what a state has"),
    (about("data", "class_names", value=[1]), "its data.class_names.0 is not what a state has"),
    (about("tree", value=None), "its tree is not what a state has"),
    (about("tree", value={"tensor": "nowhere"}), "its tree of names is damaged"),
    (about("tree", value={"dict": [[[], 1]]}), "its tree of names is damaged"),
    (about("tree", value={"dict": 5}), "its tree of names is damaged"),
    (about("tree", value={}), "its tree of names is damaged"),
    (about("tree", value={"tensor": "clock", "more": 1}), "its tree of names is damaged"),
]


@pytest.mark.parametrize(
    "change, why", RECIPE + CLOCK + STATISTICS + METADATA, ids=lambda x: x if isinstance(x, str) else ""
)
def test_contents_that_no_run_writes_are_refused(whole, tmp_path, change, why):
    where = changed(whole, tmp_path, change)
    with pytest.raises(ValueError) as error:
        read_state(where)
    text = str(error.value)
    assert text.startswith(f"{where.state} is damaged (") and why in text
    assert text.endswith("): use an older file, or make a new one")
    assert len(text) < 800 and "\n" not in text and "\x1b" not in text


def test_tensors_that_belong_to_nothing(whole, tmp_path):
    tensors, metadata = checkpoint.load(whole)
    checkpoint.save(tmp_path / "state.safetensors", tensors | {"x": torch.ones(1)}, metadata)
    with pytest.raises(
        ValueError, match=r"state.safetensors is damaged \(it has tensors that its tree of names does not"
    ):
        read_state(runs.Resumable(tmp_path, tmp_path / "state.safetensors", None))


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting(whole, tmp_path, depth):
    tensors, metadata = checkpoint.load(whole)
    text = json.dumps(metadata | {"tree": "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
    save_file(tensors, tmp_path / "state.safetensors", {"metadata": text, "sha256": checkpoint._digest(tensors, text)})
    with pytest.raises(ValueError, match=r"state.safetensors is damaged"):
        read_state(runs.Resumable(tmp_path, tmp_path / "state.safetensors", None))


def test_a_later_version_asks_for_a_later_program(whole, tmp_path):
    where = changed(whole, tmp_path, about("version", value=2))
    with pytest.raises(ValueError, match="is not a training state that this program knows: update the program"):
        read_state(where)


def test_a_state_from_before_augmentations_is_read(whole, tmp_path):
    assert "strength" not in read_state(changed(whole, tmp_path, drop("recipe", "strength"))).tree["recipe"]


def test_a_state_saved_before_the_first_step_is_read(tmp_path):
    folder = train(tmp_path, stop_at=0)
    state = read_state(runs.resolve(str(folder), tmp_path))
    assert state.clock.seen == 0 and state.tree["recipe"]["optimizers"] == {"G": {}, "D": {}}


def test_the_optimizer_checks_moments_itself(whole):
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimizer = torch.optim.Adam([parameter], fused=True)
    moments = {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)}}
    with pytest.raises(ValueError, match=r"moments.0.exp_avg is float32 of shape \[1\], expected float32 of shape"):
        check_moments(optimizer, moments, "moments")
    assert not optimizer.state
