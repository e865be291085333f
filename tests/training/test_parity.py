"""Equality with numbers recorded from the official StyleGAN2-ADA networks: every recorded entry is compared.

The official code, run twice with its two equal forms of modulated convolution, differs from itself by 4e-7 in forward
passes, 7e-7 in gradients, and after eight iterations by 6e-5 (weights) and 5e-4 (images) without classes; with classes
by 4e-3 and 4e-2, since Adam without momentum turns the rounding of near-zero gradients into whole steps. The
tolerances are a few times these figures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from models.stylegan2.mapping import MappingNetwork
from tests.reference.comparison import FORWARD, Comparison, compare_forward
from tests.reference.official import Case, load_case
from tests.reference.trainer import PHASES, RecordedTraining
from training.stylegan2 import losses as gan_losses
from training.stylegan2 import recipe as learner
from training.stylegan2.recipe import StyleGAN2

GRADIENTS = 3e-6
TRAJECTORY = {"rgb16": (2e-4, 2e-3), "labels32": (1e-2, 8e-2)}  # weights, images
ENTRIES = {"rgb16": 232, "labels32": 369}  # that the files hold
CASES = list(ENTRIES)

# recorded report -> the phase it is of, and our statistics whose means sum up to it
REPORTS = {
    "Gmain/Loss/scores/fake": ("scores/fake G",),
    "Gmain/Loss/signs/fake": ("signs/fake G",),
    "Gmain/Loss/G/loss": ("loss/G",),
    "Greg/Loss/pl_penalty": ("path/penalty",),
    "Greg/Loss/G/reg": ("loss/G path",),
    "Dmain/Loss/scores/fake": ("scores/fake",),
    "Dmain/Loss/signs/fake": ("signs/fake",),
    "Dmain/Loss/scores/real": ("scores/real",),
    "Dmain/Loss/signs/real": ("signs/real",),
    "Dmain/Loss/D/loss": ("loss/D fake", "loss/D real"),
    "Dreg/Loss/r1_penalty": ("r1/penalty",),
    "Dreg/Loss/D/reg": ("loss/D r1",),
}


def compare_phases(case: Case) -> Comparison:
    """Reports and gradients of all phases in their order; every network keeps its fresh weights."""
    made = Comparison(case)
    training = RecordedTraining(case)
    for recorded, ours in PHASES.items():
        training.recipe.G.zero_grad()
        training.recipe.D.zero_grad()
        ((letter, gradients),) = training.gradients(ours).items()
        names = case.G_names if letter == "G" else case.D_names
        compare_gradients(made, f"grad/{recorded}/", gradients, names)
        compare_reports(made, recorded, training)
    made.add("pl_mean_after_Greg", training.recipe.path_mean)
    return made


def compare_gradients(made: Comparison, prefix: str, gradients: dict[str, Tensor], names: dict[str, str]) -> None:
    """[norm, sum, first 16 values] of each parameter, relative to its norm, or to 1e-2 of the largest norm.

    A sum of n values may differ by sqrt(n) times as much as the norm of their difference.
    """
    keys = [key for key in made.case.numbers if key.startswith(prefix)]
    floor = 1e-2 * max(made.case.numbers[key][0] for key in keys)
    for key in keys:
        gradient = gradients[names[key.removeprefix(prefix)]].double()
        record = made.case.numbers[key]
        values = [gradient.norm()[None], gradient.sum()[None], gradient.flatten()[:16]]
        scale = np.full(len(record), max(float(record[0]), floor))
        scale[1] *= gradient.numel() ** 0.5
        made.add(key, torch.cat(values), scale)


def compare_reports(made: Comparison, recorded: str, training: RecordedTraining) -> None:
    moments = training.collector.read()
    for key, parts in REPORTS.items():
        if key.startswith(recorded + "/"):
            made.add(f"report/{key}", sum(moments[part].mean for part in parts))
    if recorded == "Dreg":
        # The official code reports the scores of the real images a second time here; ours are those of its R1 term.
        scores = training.recipe.D(training.case.tensor("reals"), training.case.c)
        made.add("report/Dreg/Loss/scores/real", scores.mean())
        made.add("report/Dreg/Loss/signs/real", scores.sign().mean())


def compare_trajectory(case: Case) -> Comparison:
    made = Comparison(case)
    training = RecordedTraining(case)
    training.train(8)
    recipe = training.recipe
    for name, network, names in (
        ("G", recipe.G, case.G_names),
        ("G_ema", recipe.G_ema, case.G_names),
        ("D", recipe.D, case.D_names),
    ):
        state, prefix = network.state_dict(), f"after8/{name}/"
        for key in [key for key in case.numbers if key.startswith(prefix)]:
            value = state[names[key.removeprefix(prefix)]].double()
            norm = max(float(case.numbers[key][0]), 1e-3)
            made.add(key, torch.stack([value.norm(), value.sum()]), np.array([norm, norm * value.numel() ** 0.5]))
    made.add("after8/pl_mean", recipe.path_mean)
    with torch.no_grad():
        made.add("after8/images", recipe.G_ema(case.tensor("z"), case.c, noise_mode="none"))
    return made


@pytest.mark.parametrize("name", CASES)
def test_every_recorded_number(name: str):
    forward, phases = compare_forward(load_case(name)), compare_phases(load_case(name))
    trajectory = compare_trajectory(load_case(name))
    case = load_case(name)
    inputs = {"z", "c", "reals"}
    compared = forward.errors.keys() | phases.errors.keys() | trajectory.errors.keys()
    assert compared | inputs == case.numbers.keys()
    assert len(compared) + len(inputs & case.numbers.keys()) == ENTRIES[name]
    assert forward.worst()[0] < FORWARD, forward.worst()
    assert phases.worst()[0] < GRADIENTS, phases.worst()
    weights, images = TRAJECTORY[name]
    assert trajectory.errors.pop("after8/images") < images
    assert trajectory.worst()[0] < weights, trajectory.worst()


# The comparison has to bite: each of these small mistakes must be far outside the tolerance.


@contextmanager
def detached_path_mean() -> Iterator[None]:
    honest = gan_losses.path_length_mean
    with patch.object(gan_losses, "path_length_mean", lambda *a: honest(*a).detach()):
        yield


@contextmanager
def uncorrected_betas() -> Iterator[None]:
    honest = learner.adam

    def adam(parameters, lr, betas, epsilon, interval):
        r = interval / (interval + 1)
        return honest(parameters, lr * r, betas, epsilon, interval=0)

    with patch("training.stylegan2.recipe.adam", adam):
        yield


@contextmanager
def frozen_w_average() -> Iterator[None]:
    with patch.object(MappingNetwork, "update_average", lambda *a: None):
        yield


@contextmanager
def exchanged_phases() -> Iterator[None]:
    honest = StyleGAN2._phases

    def exchanged(self):
        gmain, gpath, dmain, dr1 = honest(self)
        return [dmain, gpath, gmain, dr1]

    with patch.object(StyleGAN2, "_phases", exchanged):
        yield


@pytest.mark.parametrize("mistake", [detached_path_mean, uncorrected_betas, frozen_w_average, exchanged_phases])
def test_the_trajectory_reveals(mistake):
    with mistake():
        trajectory = compare_trajectory(load_case("rgb16"))
    assert trajectory.worst()[0] > 5 * TRAJECTORY["rgb16"][0], trajectory.worst()


def test_the_gradients_reveal_a_detached_path_mean():
    with detached_path_mean():
        phases = compare_phases(load_case("rgb16"))
    assert phases.worst("grad/Greg")[0] > 100 * GRADIENTS
