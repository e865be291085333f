"""Arguments of the operator upfirdn2d, and a comparison of its kernels with the reference in float64."""

import sys

import torch
from hypothesis import assume
from hypothesis import strategies as st

import custom_ops

OPERATOR = torch.ops.custom_ops.upfirdn2d.default
REFERENCE = sys.modules[f"{custom_ops.__name__}.upfirdn2d"].reference
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
ROUNDING = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


@st.composite
def operations(draw):
    """Shape of the images, shape of the filter, up and down, paddings, flip; half of them as the networks have them.

    Some images are wide, so that kernels that divide an image have several parts.
    """
    usual, wide = draw(st.booleans()), draw(st.booleans())
    left, right, top, bottom = sides = draw(st.tuples(*[st.integers(-3, 6)] * 4))
    if usual:
        factors = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
        taps = draw(st.sampled_from([(4,), (4, 4), (12,)]))
    else:
        factors = draw(st.tuples(*[st.integers(1, 4)] * 2))
        taps = draw(st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 7), st.integers(1, 7))))
    H, W = draw(st.tuples(st.integers(30, 80), st.integers(60, 150)) if wide else st.tuples(*[st.integers(1, 24)] * 2))
    assume(H * factors[0] + top + bottom >= taps[0] and W * factors[0] + left + right >= taps[-1])
    shape = (draw(st.integers(0, 2)), draw(st.sampled_from([1, 3] if wide else [1, 2, 3, 8, 16, 33])), H, W)
    return shape, taps, factors, sides, draw(st.booleans())


def check(operation, dtype, layout, operator=OPERATOR):
    """The error is one rounding at the end, and the rounding of a sum in wide numbers."""
    shape, taps, factors, sides, flip = operation
    torch.manual_seed(sum(shape))
    x, f = torch.randn(shape).to(dtype).contiguous(memory_format=LAYOUTS[layout]), torch.randn(taps).bfloat16().float()
    f = torch.outer(f[:, 0], f[0]) if len(taps) == 2 else f  # exact, as both have few bits
    y = operator(x, f, *factors, *sides, 1.3, flip)
    expected = REFERENCE(x.double(), f, *factors, *sides, 1.3, flip)
    magnitude = REFERENCE(x.double().abs(), f.abs(), *factors, *sides, 1.3, flip)
    error = 1e-14 if dtype == torch.float64 else 1e-6
    assert y.dtype == dtype and y.shape == expected.shape
    ambiguous = all(x.is_contiguous(memory_format=each) for each in LAYOUTS.values())
    assert ambiguous or y.numel() == 0 or y.is_contiguous(memory_format=LAYOUTS[layout])
    rounding = ROUNDING[dtype] * expected.abs().clamp(min=torch.finfo(dtype).tiny)
    assert ((y.double() - expected).abs() <= rounding + error * magnitude).all()
