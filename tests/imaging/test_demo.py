import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageChops

from imaging.cartoon import EXPRESSIONS, GLASSES, HAIR_STYLES, draw_face
from imaging.dataset import DataConfig, open_dataset
from imaging.demo import FACTORS, DemoSet, factors_of, sample_face

RECORDED_STYLES = (2, 0, 2)
RECORDED_TURN = 0.5318497467185028


def test_faces_are_the_same_for_ever():
    face = sample_face(0, 12)
    assert face == sample_face(0, 12) != sample_face(1, 12)
    assert (face.hair_style, face.glasses, face.expression) == RECORDED_STYLES
    assert face.turn == pytest.approx(RECORDED_TURN, abs=1e-12)


def test_factors_lie_in_their_ranges_and_are_spread_over_them():
    factors = np.stack([factors_of(sample_face(0, i)) for i in range(500)])
    column = dict(zip(FACTORS, factors.T, strict=True))
    for name, values in column.items():
        if name in ("turn", "tilt", "shift", "parting"):
            assert -1 <= values.min() < -0.95 and 0.95 < values.max() <= 1
        elif name in ("hair_style", "glasses", "expression"):
            choices = {"hair_style": HAIR_STYLES, "glasses": GLASSES, "expression": EXPRESSIONS}[name]
            assert set(values) == set(range(len(choices)))
        else:
            assert 0 <= values.min() < 0.05 and 0.95 < values.max() <= 1


def test_every_factor_shows():
    face = replace(sample_face(0, 0), hair_style=1, glasses=0, expression=0)
    plain = draw_face(face, 64, 64)
    for name in FACTORS:
        value = getattr(face, name)
        other = replace(face, **{name: value + 1 if isinstance(value, int) else value - 0.4})
        assert ImageChops.difference(plain, draw_face(other, 64, 64)).getbbox(), name


def test_the_set_is_balanced_and_remembers_what_it_drew():
    dataset = DemoSet(16, 16, count=20)
    assert dataset.classes == 5 and dataset.class_names == EXPRESSIONS
    assert dataset.label_counts.tolist() == [4] * 5
    assert dataset.factors.shape == (20, len(dataset.factor_names))
    pixels, label = dataset[7]
    assert label == dataset.face(7).expression == 2
    expected = np.asarray(draw_face(dataset.face(7), 16, 16)).transpose(2, 0, 1)
    assert np.array_equal(pixels, expected)
    pixels[:] = 0  # what a caller does to its copy
    assert np.array_equal(dataset[7][0], expected)


def test_fingerprints_tell_sets_apart():
    sets = [DemoSet(16, 16), DemoSet(32, 16), DemoSet(16, 16, count=9), DemoSet(16, 16, seed=1)]
    sets += [DemoSet(16, 16, mirror=True), DemoSet(16, 16, labeled=False)]
    assert len({each.fingerprint for each in sets}) == len(sets)
    assert DemoSet(16, 16).fingerprint == sets[0].fingerprint


def test_a_copy_for_a_worker_is_small_and_equal():
    dataset = DemoSet(32, 32)
    pixels = dataset[5][0]
    data = pickle.dumps(dataset)
    assert len(data) < 200_000 and np.array_equal(pickle.loads(data)[5][0], pixels)


@pytest.mark.parametrize(
    ("path", "size", "name"),
    [("demo", (32, 32), "demo32"), ("demo:64", (64, 64), "demo64"), ("demo:96x64", (64, 96), "demo96x64")],
)
def test_the_demo_set_by_name(path, size, name):
    dataset = open_dataset(DataConfig(path=path))
    assert (dataset.height, dataset.width) == size and dataset.name == name and len(dataset) == 8192
    assert dataset.labels_note == "the class of a demo face is its expression: 5 classes"


def test_the_demo_set_heeds_the_other_options():
    dataset = open_dataset(DataConfig(path="demo:32", labels="none", mirror=True, max_images=100))
    assert len(dataset) == 200 and dataset.classes == 0 and dataset.label_counts.shape == (0,)
    assert dataset[3][1] == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"path": "demo:x"}, "'x' is not a size: write WIDTHxHEIGHT such as 96x64, or one number for a square"),
        ({"path": "demo", "labels": "folders"}, "the demo set has no sub-folders: use --labels auto or --labels none"),
        (
            {"path": "demo:65536x65536"},
            "65536x65536 is 4295 megapixels, but at most 50 are accepted: take a smaller size, such as 1024x1024",
        ),
    ],
)
def test_refusals(config, message):
    with pytest.raises(ValueError) as error:
        open_dataset(DataConfig(**config))
    assert str(error.value) == message


# Mean of each quarter of a face at 32x32: red, green, blue; top left, top right, bottom left, bottom right.
QUARTERS = {
    0: [177, 188, 195, 191, 116, 125, 132, 133, 148, 166, 155, 153],
    1: [151, 146, 162, 151, 165, 170, 131, 131, 121, 125, 107, 107],
    2: [134, 152, 166, 178, 141, 161, 141, 175, 102, 112, 112, 128],
    3: [143, 128, 207, 200, 127, 108, 186, 186, 93, 81, 154, 140],
    4: [136, 151, 157, 174, 167, 177, 170, 156, 126, 135, 136, 134],
}


@pytest.mark.parametrize("index", QUARTERS)
def test_the_drawing_is_the_one_that_its_version_names(index):
    """Runs resume on faces of this version: whoever changes the drawing raises VERSION in imaging/demo.py and these."""
    pixels = DemoSet(32, 32)[index][0].astype(float)
    quarters = pixels.reshape(3, 2, 16, 2, 16).mean(axis=(2, 4)).reshape(-1)
    np.testing.assert_allclose(quarters, QUARTERS[index], atol=1.5)
