import json
from statistics import mean

import pytest
import torch
from click.testing import CliRunner

from benchmarks.stylegan2 import observer, quality
from imaging.cartoon import EXPRESSIONS
from imaging.demo import FACTORS
from models.families import save_network
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from sampling.stylegan2.attributefile import read_attributes

COUNT = 50


@pytest.fixture(autouse=True)
def _quickly(monkeypatch, trained):
    monkeypatch.setattr(quality, "train", lambda height, width, device: trained)


def _generator(seed=0, **kwargs):
    torch.manual_seed(seed)
    small = {"channel_base": 256, "channel_max": 16, "z_dim": 8, "w_dim": 8, "mapping_layers": 1}
    sizes = {"height": 16, "width": 16, "classes": 5, **kwargs}
    return Generator(GeneratorConfig(**sizes, **small)).eval()


@pytest.fixture
def network(tmp_path):
    def save(name="network.safetensors", **kwargs):
        save_network(tmp_path / name, "stylegan2", {"G_ema": _generator(**kwargs)}, {"kimg": 1.5})
        return tmp_path / name

    return save


def _run(*paths, json_too=True):
    flags = [text for path in paths for text in ("--network", str(path))]
    return CliRunner().invoke(quality.main, [*flags, "--count", str(COUNT), *(["--json"] if json_too else [])])


def test_reports_the_observer_drawn_faces_and_the_network(network):
    result = _run(network())
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    drawn, random = found["results"]
    assert (found["size"], found["count"]) == ("16x16", COUNT)
    assert random["kimg"] == 1.5 and drawn["kimg"] is None
    assert random["agreement"] == pytest.approx(sum(random["by_class"]) / len(EXPRESSIONS))
    assert drawn["agreement"] > 0.8 and found["observer_accuracy"] > 0.8
    assert min(drawn["precision"], drawn["recall"]) > max(random["precision"], random["recall"])
    assert drawn["frechet"] < random["frechet"] / 2 and drawn["swd"] < random["swd"] / 2


def test_random_weights_score_at_chance(trained):
    """Networks differ by 0.063 (measured over 60), so means of 6 by 0.026."""
    reference = observer.look(trained, observer.draw(2, COUNT, 16, 16).pixels.split(16))
    labels = torch.arange(COUNT) % len(EXPRESSIONS)
    rows = []
    for seed in range(6):
        seen = observer.look(trained, quality.samples(StyleSampler(_generator(seed)), COUNT))
        rows.append(quality.quality(seen, labels, reference))
    assert abs(mean(row["agreement"] for row in rows) - 1 / len(EXPRESSIONS)) < 4 * 0.026
    assert mean(row["precision"] for row in rows) < 0.3
    assert mean(row["recall"] for row in rows) < 0.3


def test_prints_a_table_with_dashes_for_a_network_without_classes(network):
    result = _run(network("a.safetensors"), network("b.safetensors", classes=0), json_too=False)
    assert result.exit_code == 0, result.output
    assert "held-out drawn faces of 16x16" in result.stdout.replace("\n", " ")
    *_, drawn, a, b = result.stdout.splitlines()
    assert drawn.startswith("drawn faces") and "a.safetensors" in a
    assert b.split()[1:-4] == ["-"] * 6


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"channels": 1}, "the networks make images of 16x16 with 1 channels in 5 classes: give networks of one size"),
        ({"classes": 7}, "the networks make images of 16x16 with 3 channels in 7 classes: give networks of one size"),
    ],
)
def test_refuses_networks_of_other_data(network, kwargs, words):
    result = _run(network(**kwargs))
    assert result.exit_code == 2
    assert words in result.output


def test_refuses_networks_of_different_sizes_and_missing_ones(network, tmp_path):
    result = _run(network("a.safetensors"), network("b.safetensors", width=32))
    assert result.exit_code == 2
    assert "images of 16x16 with 3 channels in 5 classes and 32x16 with 3 channels in 5 classes: give" in result.output
    assert _run(tmp_path / "none.safetensors").exit_code == 2


def test_the_observers_answers_are_labels_for_directions(network, tmp_path):
    names = observer.CAUSES
    factors = torch.zeros(1, len(FACTORS))
    assert observer.causes(factors).shape[1] == len(names) == len(set(names))
    assert set(quality.LABELS.values()) <= set(names)
    path = tmp_path / "out" / "labels.csv"
    flags = ["--network", str(network()), "--count", str(COUNT), "--labels", str(path)]
    result = CliRunner().invoke(quality.main, flags)
    assert result.exit_code == 0, result.output
    labels = read_attributes(path)
    assert labels.names == tuple(quality.LABELS) and labels.seeds == tuple(range(COUNT))
    glasses = [line.split(",")[6] for line in path.read_text().splitlines()]
    assert glasses[0] == "no glasses" and set(glasses[1:]) <= {"0", "1"}
