"""All augmentations against recorded numbers, and what holds for all of them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.training.augment.chances import ALL, CPU, Said, augmented, drawn
from training.augment.config import CATEGORIES, AugmentConfig
from training.augment.pipeline import COLOR, GEOMETRY, Augmentation

RECORDED = Path(__file__).parents[2] / "data" / "augment.npz"
TOLERANCE = 3e-6  # float32, values up to 1.4


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def test_every_recorded_augmentation(recorded):
    """Each alone, and blitting, geometry and color at once, with percentiles in place of draws."""
    images, seen = recorded.pop("images"), set()
    for entry, expected in recorded.items():
        name, q = entry.split("/percentile")
        names = GEOMETRY | COLOR if name == "bgc" else {name}
        # The rotation before anisotropic scaling takes the draw, the one after is by no angle.
        found = augmented(images, Said(float(q), len(images), {"rotate after": 0.5}), names=names)
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, msg=lambda m, e=entry: f"{e}: {m}")
        seen.add(name)
    assert len(recorded) == 30 and seen == (ALL - {"noise"}) | {"bgc"}


@pytest.mark.parametrize("channels, size", [(1, (16, 16)), (3, (12, 24)), (4, (12, 24))])
def test_without_probability_nothing_changes(channels, size):
    """But for the rounding of places, of which a pixel is a 1/93 here and float32 knows 24 bits."""
    torch.manual_seed(0)
    images = torch.rand(4, channels, *size) * 2 - 1
    torch.testing.assert_close(augmented(images, drawn(4), p=0.0), images, atol=5e-6, rtol=0)


@pytest.mark.parametrize("pipe", ["blit", "geom", "color", "filter", "noise", "cutout", "bgcfnc"])
@pytest.mark.parametrize("channels, size", [(1, (8, 8)), (3, (6, 12)), (4, (24, 8))])
def test_any_shape_and_channels(pipe, channels, size):
    torch.manual_seed(0)
    images = torch.rand(8, channels, *size) * 2 - 1
    names = AugmentConfig(mode="fixed", p=1.0, pipe=pipe).transformations
    found = augmented(images, drawn(8), names=names)
    assert found.shape == images.shape and found.isfinite().all()
    assert ((found - images).flatten(1).abs().max(dim=1)[0] > 1e-3).sum() >= 4
    if channels == 4 and pipe in ("color", "noise"):
        assert torch.equal(found[:, 3], images[:, 3])


@pytest.mark.parametrize("cuts", [[0, 4, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
def test_it_does_not_matter_how_a_batch_is_dealt(cuts):
    torch.manual_seed(0)
    images = torch.rand(8, 3, 16, 16) * 2 - 1
    whole = augmented(images, drawn(8), p=0.7)
    parts = [augmented(images[a:b], drawn(8, a, b), p=0.7) for a, b in itertools.pairwise(cuts)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=2e-6, rtol=0)


def test_one_augmentation_does_not_move_the_draws_of_another():
    images = torch.rand(8, 3, 16, 16) * 2 - 1
    alone = augmented(images, drawn(8), p=0.5, names={"cutout"})
    after = augmented(images, drawn(8), p=0.5, names={"cutout", "brightness"})
    assert torch.equal(alone == 0, after == 0)


def test_gradients_are_those_of_the_affine_map():
    """For given draws an augmentation is affine, y = A x + b, with A found column by column."""
    torch.manual_seed(0)
    shape = (3, 8, 6)
    n = 3 * 8 * 6

    def of_first_sample(images):
        return torch.cat([augmented(image[None], drawn(4, 0, 1)) for image in images])

    b = of_first_sample(torch.zeros(1, *shape)).reshape(n)
    A = of_first_sample(torch.eye(n).reshape(n, *shape)).reshape(n, n).T - b[:, None]
    x = torch.randn(1, *shape, requires_grad=True)

    def derivatives(y):
        (dx,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        (ddx,) = torch.autograd.grad(dx.square().sum(), x)
        return y, dx, ddx

    found, expected = derivatives(of_first_sample(x).reshape(n)), derivatives(A @ x.reshape(n) + b)
    for a, e in zip(found, expected, strict=True):
        assert e.abs().max() > 0.1
        torch.testing.assert_close(a, e, rtol=0, atol=1e-5 * float(e.detach().abs().max()))


def test_nothing_waits_for_the_device():
    """Tensors without contents: whatever looked at a value, or made a shape of it, would fail."""
    with FakeTensorMode():
        images = torch.zeros(4, 3, 16, 24, requires_grad=True)
        found = Augmentation(ALL, 16, 24, CPU)(images, torch.tensor(0.5), drawn(4))
        (dx,) = torch.autograd.grad(found.square().sum(), images, create_graph=True)
        dx.square().sum().backward()
        assert images.grad.shape == images.shape


def test_pipes_are_made_of_categories():
    for category, names in CATEGORIES.items():
        assert set(AugmentConfig(pipe=category).transformations) == set(names)
    sums = {"bg": "blit geom", "bgc": "blit geom color", "bgcf": "blit geom color filter"}
    sums |= {"bgcfn": "blit geom color filter noise", "bgcfnc": "blit geom color filter noise cutout"}
    for pipe, categories in sums.items():
        assert AugmentConfig(pipe=pipe).transformations == {
            name for category in categories.split() for name in CATEGORIES[category]
        }
    assert sum(len(names) for names in CATEGORIES.values()) == 15
