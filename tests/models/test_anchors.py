import pytest
import torch

from models.stylegan2 import centers as module
from models.stylegan2.centers import Anchors, draw_ws, find_centers, nearest
from models.stylegan2.mapping import truncate
from tests.networks import tiny_generator, ws_of


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "SAMPLES", 300)


def test_without_a_count_it_is_the_average_of_all():
    G = tiny_generator(classes=2)
    ws = ws_of(G, [0, 1, 2], [0, 1, 0])
    found = Anchors(G, None).of(ws, [0, 1, 0])
    assert torch.equal(found, G.mapping.w_average.expand(3, -1))


def test_each_w_has_the_nearest_center_of_its_class():
    G = tiny_generator(classes=2)
    labels = [0, 1, 1, 0, 1]
    ws = ws_of(G, range(5), labels)
    found = Anchors(G, 4).of(ws, labels)
    for w, label, anchor in zip(ws, labels, found, strict=True):
        centers = find_centers(draw_ws(G, label, 300), 4)
        assert torch.equal(
            truncate(w[None], anchor[None, None], 0.3), truncate(w[None], nearest(w[None], centers)[:, None], 0.3)
        )


def test_centers_are_found_once_and_for_the_classes_that_are_asked_for(capsys):
    G = tiny_generator(classes=3)
    ws = ws_of(G, [0, 1], [2, 2])
    of = Anchors(G, 2)
    first = of.of(ws, [2, 2])
    assert torch.equal(of.of(ws, [2, 2]), first)
    assert capsys.readouterr().out == "found 2 centers of 300 w of class 2\n"


def test_networks_without_classes(capsys):
    G = tiny_generator()
    ws = ws_of(G, [0, 1])
    assert Anchors(G, 1).of(ws, [None, None]).shape == (2, 8)
    assert capsys.readouterr().out == "found 1 center of 300 w\n"
