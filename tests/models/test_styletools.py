"""Directions that the explorer finds, learns, combines and keeps, and where pictures are in their plane."""

import pytest
import torch

from models.sampler import Request
from models.stylegan2.directionfile import load_directions
from models.stylegan2.finding import draw, find_unlabeled, spread
from models.stylegan2.sampler import StyleOptions, StyleSampler
from models.stylegan2.styletools import StyleTools
from tests.networks import tiny_generator


@pytest.fixture(scope="module")
def sampler():
    return StyleSampler(tiny_generator(classes=2, z_dim=16, w_dim=16))


@pytest.fixture
def tools(sampler, tmp_path):
    return StyleTools(sampler, tmp_path / "folder" / "found.safetensors")


def requests(sampler, seeds) -> list[Request]:
    return sampler.requests(seeds, 1)


@pytest.mark.parametrize("method", ["sefa", "pca"])
def test_found_directions_are_those_of_the_script(sampler, tools, method):
    shares = list(tools.find(method, 3))
    assert shares == sorted(shares) and shares[-1] == 1
    w, groups = draw(sampler, sampler.requests(range(10_000)))
    vectors, _ = find_unlabeled(sampler.G, method, w, groups, 3, range(6))
    kept = load_directions(tools.library.path)
    assert kept.names == tuple(f"{method}{k}" for k in range(3)) and kept.layers == (tuple(range(6)),) * 3
    assert torch.allclose(kept.vectors, vectors.float(), atol=1e-4)
    assert torch.allclose(kept.scales, spread(w, groups, vectors).float(), rtol=1e-3)
    before = tools.library.path.read_bytes()
    list(tools.find(method, 3))
    assert tools.library.path.read_bytes() == before


def test_the_changes_of_layers_are_those_of_their_styles(sampler, tools):
    list(tools.find("sefa", 2))
    kept, first = load_directions(tools.library.path), tools.directions()[0]
    step = kept.scales[0] * kept.vectors[0]
    affine = sampler.G.synthesis.blocks[0].conv1.affine
    change = affine(step[None]) - affine(torch.zeros_like(step)[None])
    assert first.changes[0] == pytest.approx(float(change.square().mean().sqrt()), rel=1e-3, abs=1e-4)
    assert len(first.changes) == 6 and not first.starred


def test_a_learned_direction_leads_from_less_to_more(sampler, tools):
    """Pictures are marked by a number that is linear in w; on other pictures the direction orders them by it."""
    truth = torch.nn.functional.normalize(torch.randn(16, generator=torch.Generator().manual_seed(1)), dim=0)
    value = {seed: float(sampler.ws(requests(sampler, [seed]))[0, 0] @ truth) for seed in range(120)}
    ordered = sorted(range(60), key=lambda seed: value[seed])
    tools.learn("more of it", requests(sampler, ordered[-12:]), requests(sampler, ordered[:12]))
    kept = load_directions(tools.library.path)
    w = sampler.ws(requests(sampler, range(60, 120)))[:, 0]
    others = torch.tensor([value[seed] for seed in range(60, 120)])
    assert torch.corrcoef(torch.stack([w @ kept.vectors[0], others]))[0, 1] > 0.8
    with pytest.raises(ValueError, match="both kinds are needed"):
        tools.learn("x", requests(sampler, [1]), [])
    with pytest.raises(ValueError, match="there is, or was, another direction 'more of it'"):
        tools.learn("more of it", requests(sampler, [1, 2]), requests(sampler, [3, 4]))


def test_a_combination_does_what_its_steps_do(sampler, tools):
    list(tools.find("pca", 3))
    strength = tools.combine("both", "pca0:1.5;pca2:-2")
    path = tools.library.path
    steps, whole = (
        StyleSampler(sampler.G, StyleOptions(directions=path, move=text)).ws(requests(sampler, [4]))
        for text in ("pca0:1.5;pca2:-2", f"both:{strength}")
    )
    assert torch.allclose(steps, whole, atol=1e-4)
    with pytest.raises(ValueError, match="cancel out"):
        tools.combine("none", "pca0:1;pca0:-1")
    with pytest.raises(ValueError, match="move some sliders first"):
        tools.combine("none", "")


def test_places_are_steps_from_the_mean(sampler, tools):
    list(tools.find("pca", 2))
    tools.combine("slanted", "pca0:1;pca1:0.5")
    moved = StyleSampler(sampler.G, StyleOptions(directions=tools.library.path, move="pca0:1.25;slanted:-0.5"))
    for axes in (("pca0", "pca1"), ("pca0", "slanted")):
        here, there = (tools.places(s, requests(sampler, [4]), axes) for s in (sampler, moved))
        (x, y), (x2, y2) = here.points[0], there.points[0]
        if axes[1] == "slanted":
            assert (x2 - x, y2 - y) == pytest.approx((1.25 - 0.5 * here.skew[0], -0.5 + 1.25 * here.skew[1]), abs=2e-3)
        else:
            assert here.skew == pytest.approx((0, 0), abs=1e-6)
    w, _ = draw(sampler, sampler.requests(range(10_000)))
    spots = tools.places(sampler, sampler.requests(range(500)), ("pca0", "pca1")).points
    expected = (w[:500] - w.mean(0)) @ load_directions(tools.library.path).vectors[0].double()
    assert torch.allclose(
        torch.tensor(spots)[:, 0].double() * load_directions(tools.library.path).scales[0], expected, atol=1e-3
    )


def test_directions_are_renamed_starred_and_removed(sampler, tools):
    list(tools.find("pca", 3))
    tools.change("pca1", starred=True)
    tools.change("pca1", new="hair")
    assert [each.name for each in tools.directions()] == ["hair", "pca0", "pca2"] and tools.directions()[0].starred
    path = tools.library.path
    old, new = (StyleSampler(sampler.G, StyleOptions(directions=path, move=f"{name}:1")).ws(requests(sampler, [4]))
                for name in ("pca1", "hair"))  # fmt: skip
    assert torch.equal(old, new)
    list(tools.find("pca", 3))
    assert {each.name for each in tools.directions()} == {"hair", "pca0", "pca2"}
    tools.change("hair", new="longer")
    assert load_directions(path).aliases == {"pca1": "longer", "hair": "longer"}
    tools.change("longer", remove=True)
    for name in ("longer", "hair", "pca1"):
        with pytest.raises(ValueError, match="got"):
            StyleSampler(sampler.G, StyleOptions(directions=path, move=f"{name}:1"))
    with pytest.raises(ValueError, match="there is, or was, another direction 'hair'"):
        tools.change("pca0", new="hair")
    for wrong in ("a;b", "a@b", "a:b", "", "7"):
        with pytest.raises(ValueError, match="cannot name a direction"):
            tools.change("pca0", new=wrong)
    list(tools.find("pca", 3))
    assert {each.name for each in tools.directions()} == {"pca0", "pca1", "pca2"}
    for k in range(3):
        tools.change(f"pca{k}", remove=True)
    assert not path.exists() and tools.directions() == []


def test_a_file_of_another_network_is_left_alone(sampler, tools):
    list(tools.find("pca", 1))
    other = StyleTools(StyleSampler(tiny_generator(w_dim=16, z_dim=16, channel_max=8)), tools.library.path)
    with pytest.raises(ValueError, match="holds directions of another network"):
        other.directions()
