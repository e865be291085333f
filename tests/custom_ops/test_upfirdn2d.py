"""upfirdn2d against a literal transcription and scipy's own, and its derivatives against finite differences."""

import numpy as np
import pytest
import scipy.signal
import torch

from custom_ops import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

CASES = [  # up, down, padding, taps (rows, columns)
    (1, 1, 0, (4, 4)),
    (1, 1, (2, 1, 1, 3), (3, 4)),
    (2, 1, (2, 1, 2, 1), (4, 4)),
    (2, 1, (0, 0, 5, 1), (4, 4)),
    (3, 2, (2, 3, 1, 4), (5, 2)),
    (1, 2, (1, 1, 1, 1), (4, 4)),
    (1, 3, (-1, 2, 0, -2), (2, 3)),
    ((1, 2), (2, 1), (1, 2), (3, 3)),
    (2, 2, (-2, -1, 6, -3), (1, 1)),
]


def literal(x, f, up, down, sides, flip, gain):
    """The four steps of the definition, one after the other, in float64."""
    (up_x, up_y), (down_x, down_y) = up, down
    left, right, top, bottom = sides
    N, C, H, W = x.shape
    y = np.zeros([N, C, H * up_y, W * up_x])
    y[:, :, ::up_y, ::up_x] = x
    y = np.pad(y, [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    y = y[:, :, max(-top, 0) : y.shape[2] - max(-bottom, 0), max(-left, 0) : y.shape[3] - max(-right, 0)]
    f = f[::-1, ::-1] if flip else f
    planes = [[scipy.signal.convolve2d(plane, f, mode="valid") for plane in sample] for sample in y]
    return np.array(planes)[:, :, ::down_y, ::down_x] * gain


def pair(value):
    return (value, value) if isinstance(value, int) else value


def sides_of(padding):
    if isinstance(padding, int):
        return (padding,) * 4
    return padding if len(padding) == 4 else (padding[0], padding[0], padding[1], padding[1])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("up", "down", "padding", "taps"), CASES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_the_definition(up, down, padding, taps, flip, layout):
    random = np.random.RandomState(0)
    x, f = random.randn(2, 3, 7, 9), random.randn(*taps)
    y = upfirdn2d(
        torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(f), up, down, padding, flip, gain=1.7
    )
    expected = literal(x, f, pair(up), pair(down), sides_of(padding), flip, 1.7)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("up", "down", "padding", "taps"), CASES)
def test_is_differentiable_twice(up, down, padding, taps):
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    f = torch.randn(*taps, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: upfirdn2d(x, f, up, down, padding), [x])
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, f, up, down, padding), [x])


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_a_line_of_taps_equals_its_outer_product(up, down):
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    line = torch.randn(4, dtype=torch.float64)
    separable = upfirdn2d(x, line, up, down, padding=(3, 1, 2, 2), gain=2.5)
    full = upfirdn2d(x, torch.outer(line, line), up, down, padding=(3, 1, 2, 2), gain=2.5)
    torch.testing.assert_close(separable, full)


def test_scipy_agrees_in_one_dimension():
    x, f = np.random.RandomState(1).randn(20), np.random.RandomState(2).randn(5)
    ours = upfirdn2d(torch.from_numpy(x)[None, None, None], torch.from_numpy(f)[None], (3, 1), (2, 1), (4, 4, 0, 0))
    # scipy pads with all the zeros that the filter can reach and inserts none after the last sample
    np.testing.assert_allclose(ours[0, 0, 0, :31].numpy(), scipy.signal.upfirdn(f, x, up=3, down=2)[:31], atol=1e-12)


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 1), (1, 4, 6, 4, 1)])
def test_flat_images_stay_flat(taps):
    """Up- and downsampling keep the brightness of every pixel that sees no edge, and the sizes."""
    f, x = setup_filter(taps), torch.full([1, 1, 24, 20], 3.0)
    for y, size in ((upsample2d(x, f), (48, 40)), (downsample2d(x, f), (12, 10)), (filter2d(x, f), (24, 20))):
        assert y.shape[2:] == size
        inner = y[:, :, 3:-3, 3:-3]
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))


def test_empty_batches_pass_through():
    x = torch.zeros(0, 3, 8, 8, requires_grad=True)
    y = upsample2d(x, setup_filter((1, 3, 3, 1)))
    assert y.shape == (0, 3, 16, 16)
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


def test_setup_filter():
    f = setup_filter((1, 3, 3, 1))
    torch.testing.assert_close(f * 64, torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])))
    torch.testing.assert_close(setup_filter((1, 1), gain=4.0).sum(), torch.tensor(4.0))
    assert setup_filter((1, 3, 3, 1), separable=True).shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"up": 0}, "resampling factors are whole numbers from 1, but up is 0 and down is 1"),
        ({"padding": (1, 2, 3)}, "padding has 1, 2 or 4 numbers, but is (1, 2, 3)"),
        ({"padding": -3}, "a filter of 4x4 taps does not fit into a padded image of 2x2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(").replace(")", r"\)") + "$"):
        upfirdn2d(torch.zeros(1, 1, 8, 8), setup_filter((1, 3, 3, 1)), **arguments)
