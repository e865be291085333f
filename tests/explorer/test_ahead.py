"""Pictures that are made before they are asked for: which, when, and that the page's questions find them."""

import json
import multiprocessing
import time
from contextlib import nullcontext
from functools import partial

import pytest
import torch

from explorer import studio as studios
from explorer.ahead import STOPS, near
from explorer.controls import controls
from explorer.pagestate import PageState
from explorer.renderer import AHEAD, SupersededError, Waiting
from explorer.studio import Asked, open_studio
from explorer.threads import quickest
from models.families import FAMILIES
from tests.networks import save_noisy, save_tiny

CPU = torch.device("cpu")
CONTROLS = {c.name: c for c in (*controls(FAMILIES["stylegan2"].options), *controls(FAMILIES["dit"].options))}


@pytest.fixture
def styles(tmp_path):
    return open_studio(str(save_tiny(tmp_path / "a.safetensors")), {}, CPU, "fp32")


def stops(name: str, **options) -> list:
    found = near(PageState(seeds=((5, 1.0), (6, 1.0)), options=options), CONTROLS[name])
    return [(state.options[name], draft) for state, draft in found]


def test_seeds_beside_and_stops_of_the_slider_on_both_sides():
    (after, before, *_), control = list(near(PageState(seeds=((0, 1.0),)), None)), CONTROLS["psi"]
    assert (after[0].seed, before[0].seed, after[1]) == (1, 2**32 - 1, False)
    assert stops("psi", psi=0.5)[:4] == [(0.51, True), (0.49, True), (0.52, True), (0.48, True)]
    assert len(stops("psi", psi=0.5)) == 2 * STOPS and len(list(near(PageState(), control))) == 2 + 2 * STOPS
    assert stops("psi", psi=1.49) == [(1.5, True), *((round(1.49 - k / 100, 2), True) for k in range(1, STOPS + 1))]
    assert stops("steps", steps=3)[0] == (4, True) and type(stops("steps", steps=3)[0][0]) is int
    assert stops("psi_cutoff") == [] and stops("noise_mode") == [] and stops("cfg_interval") == []


def test_what_was_made_ahead_answers_the_page(styles, monkeypatch):
    asked = Asked(state=PageState(seeds=((3, 1.0),), options={"psi": 0.99}), near="psi")
    assert len(list(styles.ahead(asked))) == 2 + 2 * STOPS
    monkeypatch.setattr(styles, "_made", lambda asked, options: pytest.fail("computed again"))
    for seeds, options, draft in [
        ([[4, 1]], {"psi": 0.99}, False),
        ([[3, 1]], {"psi": 1.01}, True),
        ([[3, 1]], {}, True),
    ]:
        question = {
            "number": 9,
            "slot": 0,
            "state": {"network": "a", "seeds": seeds, "label": None, "options": options},
        }
        (made,) = styles.pictures(Asked.model_validate_json(json.dumps({**question, "draft": draft, "emerge": False})))
        assert made.exact != draft


def test_nothing_is_made_ahead_where_it_takes_long_or_does_not_fit(styles, tmp_path, monkeypatch):
    noisy = open_studio(str(save_noisy(tmp_path / "b.safetensors")), {}, CPU, "fp32")
    state = PageState(options={"steps": 2, "solver": "ddim", "eta": 0.5})
    assert len(list(noisy.ahead(Asked(state=state, near="eta")))) == 2 + 2 * STOPS
    assert len(list(styles.ahead(Asked(near="psi_cutoff")))) == 2 and len(list(styles.ahead(Asked(near="x")))) == 2
    monkeypatch.setattr(studios, "SLOW", 0)
    assert list(styles.ahead(Asked(near="psi"))) == []


def test_pictures_ahead_come_last_and_give_way():
    ours, theirs = multiprocessing.Pipe()
    waiting = Waiting(theirs)
    ours.send(("ask", 1, Asked(near="psi")))
    ours.send(("save", 1, "{}"))
    ours.send(("ask", 1, Asked(number=1, slot=9)))
    waiting.read(wait=True)
    assert waiting.take()[1].number == 1 and waiting.take() == (1, "{}")
    assert waiting.take()[1].near == "psi" and waiting.job == (1, AHEAD)
    waiting.looked = 0
    waiting.look()
    ours.send(("save", 1, "{}"))
    waiting.looked = 0
    with pytest.raises(SupersededError):
        waiting.look()


def test_a_draft_comes_before_the_exact_picture_if_pictures_on_the_way_are_asked_for(styles):
    asked = Asked(state=PageState(seeds=((8, 1.0),)), emerge=True)
    assert [made.exact for made in styles.pictures(asked)] == [False, True]
    assert [made.exact for made in styles.pictures(asked)] == [True]


def test_drafts_and_exact_pictures_share_what_they_compute(styles):
    assert styles.sampler.memory is not None
    styles.threads = None
    list(styles.pictures(Asked(state=PageState(seeds=((2, 1.0),)), emerge=True)))
    assert styles.sampler.memory.computed == []


def test_the_quickest_number_of_threads_and_whether_its_pixels_agree(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)

    def pixels(count: int, seed: int, slow: int, differ: bool) -> torch.Tensor:
        time.sleep(0.02 if count == slow else 0)
        return torch.tensor([seed + (count if differ else 0)])

    assert quickest(partial(pixels, slow=5, differ=False)) == (1, True)
    assert quickest(partial(pixels, slow=5, differ=True)) == (1, False)
    assert quickest(partial(pixels, slow=1, differ=True)) == (5, True)
    monkeypatch.setattr("explorer.threads.SLOW", 0.01)
    assert quickest(partial(pixels, slow=5, differ=False)) == (None, False)


def test_exact_pictures_take_the_threads_of_drafts_if_the_pixels_agree(styles, monkeypatch):
    taken: list = []
    monkeypatch.setattr(studios, "threads", lambda count: taken.append(count) or nullcontext())
    styles.threads = 3
    for steady, seed in ((True, 50), (False, 51)):
        styles.steady = steady
        list(styles.pictures(Asked(state=PageState(seeds=((seed, 1.0),)), emerge=True)))
    assert taken == [3, 3, 3, None]
