"""The projection of one picture, step by step."""

import torch

from models.stylegan2.latents import load_latents
from models.stylegan2.portrait import Portrait
from models.stylegan2.sampler import StyleOptions, StyleSampler
from tests.networks import pictures_of, tiny_generator


def test_the_picture_comes_nearer_and_its_latents_are_kept(tmp_path):
    G = tiny_generator(classes=2)
    (target,) = pictures_of(G, [5], [1])
    for space in ("w", "w+"):
        search = Portrait(G, target, space, steps=40)
        first = search.likeness(search.picture())
        shares = list(search)
        assert shares == [(k + 1) / 40 for k in range(40)]
        last = search.picture()
        assert search.likeness(last) > first + 3
        search.save(tmp_path / "a.npz")
        (kept,) = StyleSampler(G, StyleOptions(latents=tmp_path / "a.npz")).sample(
            StyleSampler(G).fitted(load_latents(tmp_path / "a.npz", G))
        )
        assert torch.equal(kept, last)


def test_a_tuned_network_shows_the_picture_better():
    G = tiny_generator()
    (target,) = pictures_of(tiny_generator(channel_max=8), [5])
    search = Portrait(G, target, "w", steps=20)
    list(search)
    before, plain = search.likeness(search.picture()), pictures_of(G, [5])[0]
    assert list(search.tune(30))[-1] == 1 and search.network() is not G
    assert search.likeness(search.picture()) > before + 1
    assert torch.equal(pictures_of(G, [5])[0], plain)


def test_a_search_ends_early_with_what_it_has():
    G = tiny_generator()
    (target,) = pictures_of(G, [5])
    search = Portrait(G, target, "w+", steps=1000)
    for share in search:
        if share > 0.01:
            break
    assert search.picture().shape == target.shape
