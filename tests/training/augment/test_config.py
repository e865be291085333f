"""Which augmentations a name stands for, and what is refused."""

import pytest

from torch_utils.config import build
from training.augment.config import CATEGORIES, AugmentConfig
from training.stylegan2.config import StyleGAN2Config


def transformations(pipe: str) -> set[str]:
    return set(AugmentConfig(pipe=pipe).transformations)


def test_pipes_are_made_of_categories():
    for category, names in CATEGORIES.items():
        assert transformations(category) == set(names)
    sums = {"bg": "blit geom", "bgc": "blit geom color", "bgcf": "blit geom color filter"}
    sums |= {"bgcfn": "blit geom color filter noise", "bgcfnc": "blit geom color filter noise cutout"}
    for pipe, categories in sums.items():
        assert transformations(pipe) == {name for category in categories.split() for name in CATEGORIES[category]}
    assert sum(len(names) for names in CATEGORIES.values()) == 15


def test_fixed_needs_a_probability():
    with pytest.raises(ValueError) as error:
        build(StyleGAN2Config, {"augment.mode": "fixed"})
    message = "--aug fixed with --p 0 augments nothing: give a --p above 0, or --aug none"
    assert str(error.value) == message


@pytest.mark.parametrize(
    "given, message",
    [
        ({"augment.p": 1.5}, "--p: got 1.5, expected a number from 0 to 1"),
        ({"augment.target": 2.0}, "--target: got 2.0, expected a number from -1 to 1"),
        ({"augment.ada_kimg": 0.0}, "--ada-kimg: got 0.0, expected a number above 0"),
    ],
)
def test_limits(given, message):
    with pytest.raises(ValueError) as error:
        build(StyleGAN2Config, {"augment.mode": "ada"} | given)
    assert message in str(error.value)
