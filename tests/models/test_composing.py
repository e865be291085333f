"""Styles of other pictures in single layers, with weights."""

import pytest
import torch

from models.sampler import MixedStream, Request
from models.stylegan2.composing import read_parts
from models.stylegan2.directionfile import Directions, fingerprint, save_directions
from models.stylegan2.latents import save_ws
from models.stylegan2.sampler import StyleOptions, StyleSampler
from tests.networks import requests, tiny_generator


def ws_with(G, text: str, seed: int = 1, **options) -> torch.Tensor:
    sampler = StyleSampler(G, StyleOptions(styles_of=text, **options))
    return sampler.ws(sampler.requests([seed]))


@pytest.fixture(scope="module", name="G")
def tiny():
    return tiny_generator(classes=3)


def test_each_part_replaces_its_layers_in_order(G):
    one, two, three = (ws_with(G, "", seed, psi=0.5) for seed in (1, 2, 3))
    mixed = ws_with(G, "2@0-3;3@middle@0.25", psi=0.5)
    assert torch.equal(mixed[:, :3], two[:, :3])
    assert torch.allclose(mixed[:, 3], 0.75 * two[:, 3] + 0.25 * three[:, 3])
    assert torch.allclose(mixed[:, 4:], 0.75 * one[:, 4:] + 0.25 * three[:, 4:])
    assert torch.equal(ws_with(G, "2@1@0", psi=0.5), one)


def test_sources_are_mixtures_of_seeds_and_classes(G):
    sampler = StyleSampler(G)
    request = Request("x", 0, MixedStream(((2, 1.0), (3, -0.5))))
    expected = sampler.ws([sampler.of_classes(request, [(1, 3.0), (2, 1.0)])])
    mixed = ws_with(G, "2:1,3:-0.5/1:3,2@4")
    assert torch.equal(mixed[:, 4], expected[:, 4])
    assert torch.equal(ws_with(G, "2/0@0-5"), sampler.ws(requests([2], [0])))


def test_sources_are_files_of_latents_which_are_read_again_when_they_change(G, tmp_path):
    file = tmp_path / "a.npz"
    for seed in (5, 6):
        ws = ws_with(G, "", seed)
        file.unlink(missing_ok=True)
        save_ws(file, ws)
        assert torch.equal(ws_with(G, f"{file}@coarse")[:, :3], ws[:, :3])


def test_a_part_covers_a_batch_and_the_noise_stays_that_of_the_picture(G):
    sampler = StyleSampler(G, StyleOptions(styles_of="9@0-5", noise_mode="random"))
    first, second = sampler.sample(sampler.requests([1, 2]), at_once=2)
    assert not torch.equal(first, second)
    ws = sampler.ws(sampler.requests([1, 2]))
    assert torch.equal(ws[0], ws[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("85", "--styles-of: got '85', expected parts such as 85@coarse;7/2@7-9@0.5"),
        ("85@coarse;", "--styles-of: got '', expected parts"),
        ("85@9", "--styles-of: got '9', but this network has the layers 0-5"),
        ("85@fine", "--styles-of: a network with 6 layers of w has no fine layers"),
        ("-1@0", "--styles-of: got '-1', expected seeds"),
        ("1@0@1e9", "--styles-of: got '1e9', expected a number from -1000 to 1000"),
        ("1@0;" * 65, "--styles-of: got 66 parts, expected at most 64"),
    ],
)
def test_unfit_parts_are_refused_in_a_sentence(text, said):
    with pytest.raises(ValueError) as error:
        read_parts(text, 6)
    assert str(error.value).startswith(said)


def test_classes_and_files_of_sources_are_checked(G, tmp_path):
    with pytest.raises(ValueError, match="class 3: this network has 3 classes"):
        ws_with(G, "2/3@0")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.npz"):
        ws_with(G, f"{tmp_path}/b.npz@0")


def test_steps_along_directions_act_in_their_layers(G, tmp_path):
    """w + strength * scale * direction, in the layers of the file or in those that are named."""
    vectors = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    path = tmp_path / "d.safetensors"
    found = Directions(
        names=("tall", "a"),
        vectors=vectors,
        scales=torch.tensor([0.5, 2.0]),
        layers=((0, 1), (2, 3, 4, 5)),
        method="drawn",
        num_ws=6,
        network=fingerprint(G),
    )
    save_directions(path, found)
    moved = ws_with(G, "", move="tall:2;a:-1.5@middle;1:1@0", directions=path) - ws_with(G, "")
    expected = torch.zeros(6, 8)
    expected[:2] += 2 * 0.5 * vectors[0]
    expected[3:] -= 1.5 * 2 * vectors[1]
    expected[0] += 2 * vectors[1]
    assert torch.allclose(moved[0], expected, atol=1e-5)
    for styles in ("", "2@0-5"):  # the steps come after the styles
        step = ws_with(G, styles, move="tall:1", directions=path) - ws_with(G, styles)
        assert torch.allclose(step[0, :2], 0.5 * vectors[0].expand(2, -1), atol=1e-5) and not step[0, 2:].any()
    with pytest.raises(ValueError, match="--move needs --directions"):
        StyleOptions(move="tall:1")
