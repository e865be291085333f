from math import tau

import torch

from benchmarks.stylegan2 import observer
from imaging.demo import FACTORS, DemoSet

CPU = torch.device("cpu")


def test_faces_are_those_of_their_world():
    faces = observer.draw(2, 7, 16, 8)
    demo = DemoSet(16, 8, 7, seed=2)
    assert torch.equal(faces.pixels[3], torch.from_numpy(demo.read(3)))
    assert faces.expressions.tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_causes_are_all_factors_but_the_expression():
    factors = torch.rand(6, len(FACTORS)).round()
    columns = dict(zip(FACTORS, factors.unbind(dim=1), strict=True))
    columns["expression"].copy_(torch.arange(6))
    columns["background"].copy_(torch.linspace(0, 1, 6))
    causes = observer.causes(torch.stack([columns[name] for name in FACTORS], dim=1))
    assert causes.shape == (6, len(FACTORS) - 4 + 5 + 3 + 2)
    torch.testing.assert_close(
        causes[:, -2:], torch.stack([(columns["background"] * tau).sin(), (columns["background"] * tau).cos()], dim=1)
    )
    torch.testing.assert_close(causes[0, -2:], causes[5, -2:], atol=1e-5, rtol=0)  # the hue is a circle
    assert torch.equal(causes[:, 0], columns["turn"])


def test_learns_expressions_and_causes(trained):
    faces = observer.draw(2, 200, 16, 16)
    seen = observer.look(trained, faces.pixels.split(64))
    assert (seen.expressions == faces.expressions).double().mean() > 0.5
    assert observer.variance_seen(faces.causes, seen.causes) > 0.2
    assert seen.features.shape == (200, observer.FEATURES) and len(seen.patches) % 200 == 0


def test_is_always_the_same_and_leaves_the_generator_of_others_alone():
    before = torch.random.get_rng_state()
    first, second = (observer.train(16, 16, CPU, faces=64, rounds=1).state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
