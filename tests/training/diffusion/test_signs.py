"""Alarms of denoising runs, by made-up records: raised, and not raised."""

from fnmatch import fnmatch

import pytest

from tests.training.diffusion.recipes import batch, draws, recipe
from training.diffusion.signs import CLASSIFYING, DENOISING, TICKS
from training.signs import Alarms

HEALTHY = {"loss/denoise": 0.2, "loss/share": 0.3, "gradients/denoise": 0.5, "steps skipped": 0.0}


def alarms(name, values, signs=DENOISING, config=None):
    """The kinds of the alarms of a run whose statistic `name` takes these values, tick by tick."""
    judge = Alarms(signs, config or {})
    for seen, value in enumerate(values):
        judge.feed(HEALTHY | {"loss/classify": 0.2, "seen": 1000 * seen, name: value})
    return [alarm.kind for alarm in judge.raised]


@pytest.mark.parametrize("signs, name", [(DENOISING, "loss/denoise"), (CLASSIFYING, "loss/classify")])
def test_a_rising_loss(signs, name):
    rising = [0.2 * 1.02**i for i in range(30)]
    assert alarms(name, rising, signs) == ["the loss rises"]
    assert alarms(name, [0.2, 0.21, 0.2, 0.22, 0.19] * 6, signs) == []  # noise of ticks
    assert alarms(name, rising[::-1], signs) == []
    assert alarms(name, [0.2] * 20 + [0.3] * 5, signs) == []  # not for long enough


@pytest.mark.parametrize("signs", [DENOISING, CLASSIFYING])
def test_a_loss_that_does_not_fall(signs):
    assert alarms("loss/share", [0.99] * TICKS, signs) == ["the loss does not fall"]
    assert alarms("loss/share", [0.99] * (TICKS - 1) + [0.9, 0.6, 0.4], signs) == []
    assert alarms("loss/share", [1.0, 0.5] + [0.3] * 30, signs) == []  # a late plateau is healthy


def test_exploding_gradients():
    assert alarms("gradients/denoise", [200.0] * 5) == ["the gradients explode"]
    assert alarms("gradients/denoise", [200.0] * 4 + [3.0] * 5) == []


def test_an_alarm_ends():
    judge = Alarms(DENOISING, {})
    for seen, norm in enumerate([200.0] * 5 + [1.0] * 5):
        judge.feed(HEALTHY | {"seen": seen, "gradients/denoise": norm})
    (alarm,) = judge.raised
    assert (alarm.since, alarm.until) == (4, 9) and "norm of 200" in alarm.text and "--lr" in alarm.advice


@pytest.mark.parametrize(
    "average, kimg, raised",
    [
        ({"kimg": [500.0], "ramp": 0.0}, 100.0, True),
        ({"kimg": [500.0], "ramp": 0.1}, 100.0, False),  # the ramp shortens it
        ({"kimg": [10.0, 500.0], "ramp": 0.0}, 100.0, False),  # pictures are made with the first
        ({"kimg": [10.0], "ramp": 0.0}, 100.0, False),
        ({}, 100.0, False),
        ({"kimg": "damaged"}, None, False),
    ],
)
def test_an_average_longer_than_the_run(average, kimg, raised):
    config = {"average": average, "pace": {"kimg": kimg}}
    assert alarms("loss/share", [], config=config) == ["the average is longer than the run"] * raised


def test_every_statistic_of_a_recipe_has_a_chart():
    for model, signs in (("dit-ti/4", DENOISING), ("noise-classifier", CLASSIFYING)):
        learning = recipe(model, 3)
        ((_, reports),) = learning.losses(learning.phases[0], batch(classes=3), draws())
        patterns = [pattern for chart in signs.charts for pattern in chart.patterns]
        assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in reports)
        assert signs.shown.keys() <= reports.keys()
