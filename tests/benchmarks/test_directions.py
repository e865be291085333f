import csv
import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from benchmarks import directions, drift, observer
from imaging.faces import FACTORS, HAIR_STYLES
from models.stylegan2.directions import fingerprint, load_directions
from sampling.stylegan2.attributefile import read_attributes
from tests.networks import save_tiny, tiny_generator


def _scene(trained, **changes):
    scene = drift.look_at_samples(tiny_generator(classes=5), trained, 12, 16, 16, strength=2.0)
    return replace(scene, visible=torch.ones(len(observer.cause_names()), dtype=torch.bool), **changes)


@pytest.fixture
def scene(trained):
    return _scene(trained)


def _moved(change, drifted):
    return drift.Moved("a", "all", None, (), change, drifted, {}, 1.0)


def test_names_of_causes_stand_where_causes_puts_them():
    names = observer.cause_names()
    factors = torch.zeros(1, len(FACTORS))
    assert observer.causes(factors).shape[1] == len(names) == len(set(names))
    factors[0, FACTORS.index("hair_style")] = HAIR_STYLES.index("bun")
    factors[0, FACTORS.index("skin")] = 0.75
    seen = dict(zip(names, observer.causes(factors)[0].tolist(), strict=True))
    assert seen["hair_style bun"] == 1 and seen["hair_style bob"] == 0 and seen["skin"] == 0.75
    assert seen["glasses none"] == 1 and seen["background cos"] == 1 and seen["background sin"] == 0
    assert set(directions.TARGETS.values()) <= set(names)


def test_a_step_of_no_length_changes_nothing(scene):
    row = drift.measure(scene, "none", 0, torch.zeros(8), "all", range(4, 12))
    assert row.change == row.drift == 0 and row.kept == 1
    assert len(set(row.values)) == 1 and set(row.most.values()) == {0.0}


def test_change_and_drift_are_those_of_the_pictures_at_both_ends(scene, monkeypatch):
    """With an observer that answers number k of a picture by k times the first number of w."""
    count = len(observer.cause_names())

    def see(G, by, ws, label):
        causes = ws[:, 0, :1] * torch.arange(count)
        return observer.Seen(causes, (ws[:, 0, 0] > 0).long(), causes)

    monkeypatch.setattr(drift, "_see", see)
    made = replace(
        scene, deviation=torch.full([count], 2.0), ws=torch.zeros(12, 6, 8), seen=see(0, 0, scene.ws * 0, "")
    )
    step = torch.zeros(8)
    step[0] = 1.5
    row = drift.measure(made, "turn", 0, step, "coarse", range(12))
    own = drift.measure(made, "tilt", 1, step, "coarse", range(12))
    # From -2 to 2 steps of 1.5, times k, by a deviation of 2.
    assert row.change == 0 and own.change == pytest.approx(3) and own.values == pytest.approx((-3, 0, 3))
    assert row.drift == pytest.approx(3 * sum(range(1, count)) / (count - 1))
    assert own.drift == pytest.approx(3 * (sum(range(count)) - 1) / (count - 1))
    assert list(row.most) == observer.cause_names()[:-4:-1]
    assert row.most["background cos"] == pytest.approx(3 * (count - 1)) and row.kept == 0
    elsewhere = drift.measure(made, "tilt", 1, step, "3-5", range(12))
    assert elsewhere.change == 0 and elsewhere.kept == 1


def test_other_choices_of_the_same_factor_are_no_drift(scene):
    names = observer.cause_names()
    only = replace(scene, visible=torch.tensor([name.startswith("hair_style ") for name in names]))
    only.visible[names.index("skin")] = True
    alone = drift.measure(only, "curly", names.index("hair_style curly"), torch.ones(8), "all", range(12))
    assert set(alone.most) == {"skin"}


def test_layers_are_those_of_little_drift_among_those_of_enough_change():
    trials = {"all": _moved(3.0, 1.5), "coarse": _moved(2.5, 0.5), "middle": _moved(0.5, 0.01)}
    assert drift.best_layers(trials) == "coarse"
    assert drift.best_layers(trials | {"coarse": _moved(1.9, 0.1)}) == "all"
    assert drift.best_layers({"coarse": _moved(-0.1, 0.1), "all": _moved(-1.0, 0.5)}) == "all"


def _labels(scene, cause):
    """Labels that have nothing to do with the pictures, but vary in every class."""
    place = list(directions.TARGETS.values()).index(cause)
    draws = torch.randn(len(directions.TARGETS), len(scene.ws), generator=torch.Generator().manual_seed(0))
    return (draws[place] > 0).float()


@pytest.fixture
def _quickly(monkeypatch, trained):
    monkeypatch.setattr(directions, "train", lambda height, width, device: trained)
    monkeypatch.setattr(directions, "labels", _labels)
    monkeypatch.setattr(drift, "SEEN_WELL", -10.0)
    monkeypatch.setattr(drift, "DRAWN", 20)


@pytest.mark.usefixtures("_quickly")
def test_the_command_measures_and_writes_what_directions_py_takes(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=5, w_dim=16)
    flags = ["--network", str(network), "--count", "100", "--held-out", "10", "--first", "2"]
    result = CliRunner().invoke(directions.main, [*flags, "--outdir", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["name"] for row in found["labels"]] == list(directions.TARGETS)
    assert [row["name"] for row in found["unlabelled"]] == ["sefa0", "sefa1", "pca0", "pca1"]
    assert all(len(row["values"]) == 3 and row["layers"] in ("all", "coarse", "middle") for row in found["labels"])
    saved = load_directions(tmp_path / "out" / "directions.safetensors")
    assert saved.names == tuple(directions.TARGETS)
    assert saved.network == fingerprint(tiny_generator(classes=5, w_dim=16))
    labels = read_attributes(tmp_path / "out" / "labels.csv")
    assert labels.names == saved.names and labels.seeds == tuple(range(100))
    with (tmp_path / "out" / "labels.csv").open() as file:
        assert next(csv.reader(file)) == ["seed", *directions.TARGETS]
    lines = directions.table(found).splitlines()
    assert lines[0].startswith("100 labelled samples, 7 held-out ones; strengths -3 and 3;")
    assert sum(line.startswith("| ") for line in lines) == 3 + 2 * len(directions.TARGETS) + 4


def test_networks_of_other_data_are_refused(tmp_path):
    network = save_tiny(tmp_path / "a.safetensors", classes=3)
    result = CliRunner().invoke(directions.main, ["--network", str(network)])
    assert result.exit_code == 2
    assert "makes images of 3 channels in 3 classes, and the demo set has 3 in 5" in result.output
