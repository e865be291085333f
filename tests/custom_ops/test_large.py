"""Tensors of more numbers than 32 bits can count, of which the last ones tell whether all were reached."""

import pytest
import torch

from custom_ops import build, scale_bias_act, setup_filter, upfirdn2d
from tests.custom_ops import trial

SHAPE = (1, 2, 2**15 + 2, 2**15)  # 2^17 more than 2^31: 4 GiB in bfloat16, and as much for the output


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.proof), pytest.param("cuda", marks=pytest.mark.gpu)]
)
@torch.no_grad()
def test_the_last_numbers_are_reached(device, layout):
    if device == "cpu" and trial.COMPILER is None:
        pytest.skip("needs a C++ compiler")
    assert build.load(device), build.shortfall(device)
    x = torch.zeros(SHAPE, dtype=torch.bfloat16, device=device).to(memory_format=layout)
    last = torch.tensor([1.0, 2.0, 3.0, -4.0])
    x[0, 1, -1, -4:] = last.to(x)
    scale, b = torch.tensor([[2.0, 3.0]], device=device), torch.tensor([0.5, 0.25], device=device)
    y = scale_bias_act(x, scale, None, b, act="lrelu", gain=1.0)
    expected = torch.where(last > 0, last * 3 + 0.25, 0.2 * (last * 3 + 0.25)).bfloat16()
    assert torch.equal(y[0, 1, -1, -4:].cpu(), expected)
    assert y[0, :, 0, 0].tolist() == y[0, :, -1, 0].tolist() == [0.5, 0.25]
    del y
    y = upfirdn2d(x, setup_filter((1, 1)), down=2)  # the means of squares of four
    assert y[0, 1, -1, -3:].tolist() == [0.0, 0.75, -0.25] and y[0, 0, 0, 0] == 0
