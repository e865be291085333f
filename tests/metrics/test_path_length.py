import math

import numpy as np
import pytest
import torch

from metrics import path_length as pl


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_of_a_linear_generator_in_closed_form():
    """Render and embedding are linear: a step has the length of A (w1 - w0), wherever it is taken."""
    z0, z1, A = _normal(20, 8), _normal(20, 8, seed=1), _normal(8, 12, seed=2)
    mapped = lambda z: (2 * z)[:, None].expand(-1, 3, -1)  # noqa: E731
    render = lambda ws: (ws[:, 0] @ A).view(-1, 3, 2, 2)  # noqa: E731
    for t in (torch.zeros(20).double(), torch.rand(20).double()):
        found = pl.path_lengths(mapped, render, lambda x: x.flatten(1), (z0, z1), t, "w")
        torch.testing.assert_close(found, (2 * (z1 - z0) @ A).square().sum(dim=1), rtol=1e-6, atol=0)


def test_of_latents_themselves_is_the_squared_angle():
    """In z a path is an arc of the unit sphere, so a generator that shows z has the squared length of the arc."""
    z0, z1 = _normal(20, 8), _normal(20, 8, seed=1)
    angle = torch.acos(torch.cosine_similarity(z0, z1))
    for t in (torch.zeros(20), torch.rand(20).double()):
        found = pl.path_lengths(lambda z: z, lambda w: w, lambda x: x, (z0, z1), t, "z")
        torch.testing.assert_close(found, angle.square(), rtol=1e-4, atol=0)


def test_trimmed_mean_leaves_out_both_tails():
    lengths = torch.cat([torch.arange(1.0, 999), torch.tensor([1e9, -1e9])])[torch.randperm(1000)]
    ordered = np.sort(lengths.numpy())
    low, high = ordered[math.floor(0.01 * 999)], ordered[math.ceil(0.99 * 999)]
    expected = ordered[(ordered >= low) & (ordered <= high)].mean()
    assert pl.trimmed_mean(lengths) == pytest.approx(expected)
    assert pl.trimmed_mean(torch.tensor([3.0])) == 3


def test_crops_the_middle_where_a_face_is_and_averages_large_pictures():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(32.0), indexing="ij")
    found = pl.prepared(torch.stack([y, x])[None], crop=True)
    assert found.shape == (1, 2, 8, 16)
    torch.testing.assert_close(found[0, 0, :, 0], (torch.arange(6.0, 14) + 1) * 127.5)
    torch.testing.assert_close(found[0, 1, 0], (torch.arange(8.0, 24) + 1) * 127.5)
    large = _normal(1, 3, 512, 512).float()
    torch.testing.assert_close(
        pl.prepared(large, crop=False),
        (large.view(1, 3, 256, 2, 256, 2).mean(dim=(3, 5)) + 1) * 127.5,
        rtol=1e-5,
        atol=1e-4,
    )
    assert pl.prepared(large[:, :, :256, :256], crop=False).shape == (1, 3, 256, 256)
