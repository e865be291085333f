"""The strength of augmentations: how it moves, in one process and in several, and what a run makes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.sampler import Shape
from tests.training.runs import resume, tiny, train
from tests.training.stylegan2.test_recipe import draws, reals, recipe
from tests.training.test_resume import assert_equal_runs
from training import plan as plans
from training.augment.chances import Drawn, Strength
from training.augment.config import AugmentConfig
from training.course import Asked
from training.courses import find

CPU = torch.device("cpu")
BATCH = 4


def strength(p=0.5, **more) -> Strength:
    return Strength(AugmentConfig(**{"mode": "ada", "p": p, "ada_kimg": 0.16} | more), BATCH, CPU)  # steps of 0.1


def go(s: Strength, shares: list[float], seen: int = 0) -> list[float]:
    """p after each iteration, of four scores, of which a share is positive."""
    found = []
    for share in shares:
        s.observe(torch.where(torch.arange(4) < 4 * share, 3.0, -0.5)[:, None])
        s.adjust(seen)
        seen += BATCH
        found.append(round(float(s.p), 5))
    return found


def test_p_moves_every_fourth_iteration_by_the_mean_sign_since_the_last():
    # Signs 1, 1, 1, 0: 0.75 > 0.6. Then 1, 1, 0, 0: 0.5.
    assert go(strength(), [1, 1, 1, 0.5, 1, 1, 0.5, 0.5]) == [0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.5]


def test_at_the_target_p_rests():
    assert go(strength(target=0.5), [0.75] * 4)[-1] == 0.5


@pytest.mark.parametrize("p, share, end", [(0.95, 1.0, 1.0), (0.05, 0.0, 0.0)])
def test_p_stays_between_0_and_1(p, share, end):
    assert go(strength(p), [share] * 12)[3::4] == [end] * 3


def test_p_takes_ada_kimg_from_0_to_1():
    s = strength(0.0, ada_kimg=0.48)
    assert go(s, [1.0] * 116)[-1] < 0.999
    assert go(s, [1.0] * 4, seen=116 * BATCH)[-1] == pytest.approx(1.0)


def test_nan_counts_as_no_sign_and_a_fixed_p_stays():
    s = strength()
    for i in range(4):
        s.observe(torch.tensor([[float("nan")], [1.0], [1.0], [1.0]]))
        s.adjust(i * BATCH)
    assert float(s.p) == pytest.approx(0.6)
    assert go(Strength(AugmentConfig(mode="fixed", p=0.3), BATCH, CPU), [1.0] * 8) == [0.3] * 8


def test_r1_goes_through_the_augmentation():
    """Against the same as an affine map of the un-augmented image, which autograd differentiates without our help."""
    r = recipe(**{"augment.mode": "fixed", "augment.p": 0.8, "augment.pipe": "bgcfnc"})
    real, d = reals(r), draws("Dr1")
    n = real.images[0].numel()

    def augment(images):
        with torch.no_grad():
            return r.augment(images, r.strength.p, Drawn(d, "real"))

    b = augment(torch.zeros_like(real.images))
    columns = [augment(e.reshape(1, 3, 16, 16).expand(4, -1, -1, -1)) - b for e in torch.eye(n)]
    A = torch.stack([column.flatten(1) for column in columns], dim=2)  # [4, n, n]
    r.D.requires_grad_(True)
    ((loss, reports),) = r.losses(r.phases[3], real, d)
    found = torch.autograd.grad(loss, list(r.D.parameters()), allow_unused=True)
    x = real.images.clone().requires_grad_(True)
    seen = (A @ x.flatten(1)[:, :, None]).reshape(x.shape) + b
    (dx,) = torch.autograd.grad(r.D(seen, None).sum(), x, create_graph=True)
    penalty = dx.square().sum(dim=[1, 2, 3])
    torch.testing.assert_close(reports["r1/penalty"], penalty, rtol=1e-4, atol=1e-6)
    expected = torch.autograd.grad(penalty.mean() * r.config.loss.gamma / 2, list(r.D.parameters()), allow_unused=True)
    for a, e in zip(found, expected, strict=True):
        if e is None:
            assert a is None
        else:
            torch.testing.assert_close(a, e, rtol=1e-3, atol=1e-4 * float(e.abs().max()) + 1e-9)


@pytest.mark.parametrize("loss, looks", [("logistic", 4), ("rpgan", 6)])
def test_all_that_d_sees_is_augmented(monkeypatch, loss, looks):
    """Fakes and reals, for G, for D and for their penalties, each with draws of its own."""
    r = recipe(**{"augment.mode": "fixed", "augment.p": 0.5, "loss.kind": loss})
    seen, scored, honest = [], [], r.augment
    monkeypatch.setattr(r, "augment", lambda images, p, chances: seen.append(chances) or honest(images, p, chances))
    r.D.register_forward_hook(lambda *_: scored.append(1))
    for phase in r.phases:
        phase.network.requires_grad_(True)
        list(r.losses(phase, reals(r), draws(phase.name)))
        phase.network.requires_grad_(False)
    assert len(seen) == len(scored) == looks
    assert len({float(chances.uniform("hue")[0]) for chances in seen}) == looks


def test_of_pairs_the_differences_are_watched(monkeypatch):
    """D's scores themselves may be anywhere then."""
    r = recipe(**{"augment.mode": "ada", "loss.kind": "rpgan"})
    phase, watched = next(p for p in r.phases if p.name == "Dmain"), []
    monkeypatch.setattr(r.strength, "observe", watched.append)
    phase.network.requires_grad_(True)
    ((_, reports),) = r.losses(phase, reals(r), draws("Dmain"))
    assert torch.equal(watched[0], reports["margin"]) and float(reports["augment/p"]) == 0


LENGTH: dict[str, Any] = {
    "pace__kimg": 0.08,
    "augment__mode": "ada",
    "augment__ada_kimg": 0.2,
    "augment__pipe": "bgcfnc",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("whole"), **LENGTH)


def test_resumed_between_two_steps_of_p_a_run_is_the_same(whole, tmp_path):
    """18 is the second iteration of an interval; the signs of two batches have been counted by then."""
    folder = train(tmp_path, stop_at=18, **LENGTH)
    plan = plans.resume(str(folder), {}, tmp_path)
    assert plan.state.tree["recipe"]["strength"]["signs"][1] == 2 * 4
    assert_equal_runs(whole, resume(folder))


def test_a_run_tells_p(whole):
    records = [json.loads(line) for line in (whole / "stats.jsonl").read_text().splitlines()]
    assert [record["augment/p"]["count"] for record in records] == [5] * 4
    assert records[-1]["augment/p"]["mean"] > 0.05
    lines = [line for line in (whole / "log.txt").read_text().splitlines() if line.startswith("kimg")]
    assert f" p {records[-1]['augment/p']['mean']:.3f}" in lines[-1]


def test_a_run_without_augmentation_does_not_and_takes_up_states_from_before():
    r = recipe()
    r.phases[2].network.requires_grad_(True)
    assert all("augment/p" not in reports for _, reports in r.losses(r.phases[2], reals(r), draws("Dmain")))
    state = r.state_dict()
    del state["strength"]
    r.load_state_dict(state)
    assert float(r.strength.p) == 0


@pytest.mark.parametrize(
    "given, message",
    [
        ({"mode": "fixed", "p": 0.2, "ada_kimg": 9.0}, "--ada-kimg has no effect with --aug fixed"),
        ({"mode": "fixed", "p": 0.2, "interval": 2}, "--set augment.interval has no effect with --aug fixed"),
        ({"mode": "none", "p": 0.2}, "--p has no effect with --aug none: leave it out, or give --aug ada"),
        ({"pipe": "color"}, "--augpipe has no effect with --aug none"),  # of the preset demo
        ({"mode": "fixed"}, "--aug fixed with --p 0 augments nothing"),
    ],
)
def test_what_has_no_effect_is_refused(given, message, tmp_path):
    with pytest.raises(ValueError) as error:
        plans.begin(tiny(**{f"augment__{name}": value for name, value in given.items()}), tmp_path)
    assert message in str(error.value)


def test_auto_says_why_it_augments(tmp_path):
    plan = plans.begin(tiny(preset="auto"), tmp_path)
    assert plan.config.augment.mode == "ada"
    on = "--aug ada is on: with only 40 images D would soon learn them by heart, so it sees augmented ones"
    assert f"{on} (--aug none turns this off)" in plan.notes
    assert "40 images will hardly do" in plan.notes[-1]
    assert not any("--aug" in note for note in plans.begin(tiny(augment__mode="ada"), tmp_path).notes)


@pytest.mark.parametrize("transferred, enough", [(False, 500), (True, 100)])
def test_a_hopeless_number_of_images_is_told(transferred, enough):
    def notes(images):
        asked = Asked("auto", Shape(16, 16, 3, 0), {"augment.mode": "ada"}, 1, images, transferred)
        return find("stylegan2").settle(asked)[1]

    assert notes(enough) == ()
    (note,) = notes(enough - 1)
    assert note.startswith(f"{enough - 1} images will hardly do: D learns so few by heart")
    assert ("--transfer" in note) != transferred and "more images, some hundred at least" in note and "--mirror" in note
