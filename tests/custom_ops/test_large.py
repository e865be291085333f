"""Tensors of more than 2^32 bytes and 2^31 numbers. Their last numbers show whether all were reached."""

import pytest
import torch

from custom_ops import build, scale_bias_act, setup_filter, upfirdn2d
from tests.custom_ops import trial

SHAPE = (1, 2, 2**15 + 2, 2**15)  # 2^17 more than 2^31: 4 GiB in bfloat16, and as much for the output


LAST = torch.tensor([1.0, 2.0, 3.0, -4.0])

on_both = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.proof), pytest.param("cuda", marks=pytest.mark.gpu)]
)
in_both_layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def features(device: str, layout: torch.memory_format) -> torch.Tensor:
    """Zeros, but for the last four numbers of the last row of the last channel."""
    if device == "cpu" and trial.COMPILER is None:
        pytest.skip("needs a C++ compiler")
    assert build.load(device), build.shortfall(device)
    x = torch.zeros(SHAPE, dtype=torch.bfloat16, device=device).to(memory_format=layout)
    x[0, 1, -1, -4:] = LAST.to(x)
    return x


@in_both_layouts
@on_both
@torch.no_grad()
def test_the_last_numbers_are_reached(device, layout):
    x = features(device, layout)
    scale, b = torch.tensor([[2.0, 3.0]], device=device), torch.tensor([0.5, 0.25], device=device)
    y = scale_bias_act(x, scale, None, b, act="lrelu", gain=1.0)
    expected = torch.where(LAST > 0, LAST * 3 + 0.25, 0.2 * (LAST * 3 + 0.25)).bfloat16()
    assert torch.equal(y[0, 1, -1, -4:].cpu(), expected)
    assert y[0, :, 0, 0].tolist() == y[0, :, -1, 0].tolist() == [0.5, 0.25]
    del y
    y = upfirdn2d(x, setup_filter((1, 1)), down=2)  # the means of squares of four
    assert y[0, 1, -1, -3:].tolist() == [0.0, 0.75, -0.25] and y[0, 0, 0, 0] == 0


@in_both_layouts
@on_both
@torch.no_grad()
def test_sums_run_over_the_last_numbers(device, layout):
    """One tensor is the gradient, the output and the input, so that two of them fit into 9 GiB."""
    x = features(device, layout)
    scale, curve = torch.tensor([[2.0, 3.0]], device=device), (0.2, 1.0, None)
    backward = torch.ops.custom_ops.scale_bias_act_backward.default
    dx, dscale, _, db = backward(x, x, x, scale, *curve, True, False, True)
    slope = torch.where(LAST > 0, 1.0, 0.2)
    assert torch.equal(dx[0, 1, -1, -4:].cpu(), (LAST * slope * 3).bfloat16()) and dx[0, 0, 0, 0] == 0
    assert dscale.tolist() == [[0.0, pytest.approx(float((LAST.square() * slope).sum()), rel=1e-6)]]
    assert db.tolist() == [0.0, pytest.approx(float((LAST * slope).sum()), rel=1e-6)]


@in_both_layouts
@on_both
@torch.no_grad()
def test_enlarging_reaches_beyond_32_bits(device, layout):
    """A quarter of the features in, more than 2^31 numbers out."""
    x = features(device, layout)[:, :, SHAPE[2] // 2 :, SHAPE[3] // 2 :].contiguous(memory_format=layout)
    y = upfirdn2d(x, setup_filter((1, 1)), up=2, padding=(1, 0, 1, 0), gain=4)  # every pixel becomes four
    assert y.shape == SHAPE
    assert y[0, 1, -2:, -8:].tolist() == [LAST.repeat_interleave(2).tolist()] * 2 and y[0, 0, 0, 0] == 0
