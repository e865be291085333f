"""Draws depend on (seed, iteration, phase, purpose) and not on how a batch is dealt out."""

import dataclasses
import itertools

import pytest
import torch

from training.recipe import Draws

WHOLE = Draws(7, 12, "Gmain", batch=8, start=0, stop=8, device=torch.device("cpu"))


def part(start, stop):
    return dataclasses.replace(WHOLE, start=start, stop=stop)


@pytest.mark.parametrize("cuts", [[0, 8], [0, 4, 8], [0, 2, 4, 6, 8], [0, 1, 8]])
def test_the_parts_of_a_batch_make_the_whole(cuts):
    thresholds = torch.tensor([1.0, 5.0, 2.0]).cumsum(0)
    spans = list(itertools.pairwise(cuts))
    z = torch.cat([part(a, b).latents("z", 5) for a, b in spans])
    shape = [torch.Size([b - a, 2, 3]) for a, b in spans]
    noise = torch.cat([part(a, b).normal("path", s) for (a, b), s in zip(spans, shape, strict=True)])
    assert torch.equal(noise, WHOLE.normal("path", torch.Size([8, 2, 3])))
    classes = torch.cat([part(a, b).classes("class", thresholds) for a, b in spans])
    assert torch.equal(z, WHOLE.latents("z", 5))
    assert torch.equal(torch.cat([part(a, b).uniforms("u", 5) for a, b in spans]), WHOLE.uniforms("u", 5))
    assert torch.equal(classes, WHOLE.classes("class", thresholds))
    assert {part(a, b).uniform("mix") for a, b in spans} == {WHOLE.uniform("mix")}


def test_every_part_of_the_key_counts():
    first = WHOLE.latents("z", 5)
    for change in ({"seed": 8}, {"iteration": 13}, {"phase": "Dmain"}):
        assert not torch.equal(first, dataclasses.replace(WHOLE, **change).latents("z", 5))
    assert not torch.equal(first, WHOLE.latents("z mixed", 5))
    (a, other), (b, _) = (part(i, i + 4).pictures("noise", [[9], [9]]) for i in (0, 4))
    assert not torch.equal(a, b) and not torch.equal(a, other)


def test_the_same_key_draws_the_same():
    again = Draws(7, 12, "Gmain", batch=8, start=0, stop=8, device=torch.device("cpu"))
    assert torch.equal(WHOLE.latents("z", 5), again.latents("z", 5))
    assert torch.equal(WHOLE.normal("path", torch.Size([2, 3])), again.normal("path", torch.Size([2, 3])))


def test_draws_have_their_distributions():
    many = dataclasses.replace(WHOLE, batch=200_000, stop=200_000)
    z = many.latents("z", 1)
    assert abs(z.mean().item()) < 0.01 and abs(z.std().item() - 1) < 0.01
    shares = many.classes("class", torch.tensor([1.0, 0.0, 6.0, 3.0]).cumsum(0)).bincount(minlength=4) / 200_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.0, 0.6, 0.3]), atol=0.005, rtol=0)
    u = many.uniforms("u", 1)
    assert (
        u.min() >= 0 and u.max() < 1 and abs(u.mean().item() - 0.5) < 0.005 and abs(u.std().item() - 12**-0.5) < 0.005
    )
    uniform = torch.tensor([dataclasses.replace(WHOLE, iteration=i).uniform("mix") for i in range(4000)])
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean().item() - 0.5) < 0.02 and abs(uniform.std().item() - 12**-0.5) < 0.01


def test_styles_cross_over_behind_each_layer_as_often_or_not_at_all():
    cuts = torch.tensor([dataclasses.replace(WHOLE, iteration=i).crossover(5, 0.8) for i in range(4000)])
    shares = cuts.bincount(minlength=6) / 4000
    torch.testing.assert_close(shares, torch.tensor([0, 0.2, 0.2, 0.2, 0.2, 0.2]), atol=0.03, rtol=0)
