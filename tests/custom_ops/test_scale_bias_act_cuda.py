"""The CUDA kernels of scale_bias_act and bias_act, without a GPU: every path of a launch, on tensors that are small."""

from itertools import product

import pytest
import torch

from tests.custom_ops import emulation
from tests.custom_ops import test_bias_act as plain
from tests.custom_ops import test_scale_bias_act as scaled

pytestmark = pytest.mark.skipif(not emulation.POSSIBLE, reason="needs a C++ compiler, and Linux")

DTYPES = [torch.float32, torch.bfloat16]  # packs of four numbers and of eight
LAYOUTS = [torch.contiguous_format, torch.channels_last]
SHAPES = [
    (2, 5, 7, 9),  # numbers one by one
    (2, 40, 8, 4),  # packs, a block of them for a sample
    (1, 272, 3, 2),  # packs of channels in several tiles
    (1, 3, 34, 16),  # packs of pixels in several tiles
]
WANTS = [(False, False, False), (True, True, True), (True, False, False), (False, True, False), (False, False, True)]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    changes = {
        "BLOCKS = 1024": "BLOCKS = 2",  # few for all, so that each takes several steps
        "case ScalarType::(Double|Half): .*": "",  # what is not tried here takes half the time to compile
        r"INSTANTIATE_SCALE_BIAS_ACT\((double|Half)\)": "",
        "template bool product_kernel.*<(double|Half)>.*": "",
    }
    emulation.load(["scale_bias_act", "bias_act"], tmp_path_factory.mktemp("emulated"), changes)
    return torch.ops.emulated_ops


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_scale_bias_act(emulated, shape, dtype, layout):
    torch.manual_seed(0)
    x, dy, ddx = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for _ in range(3))
    for act, parts, gain, clamp in (("lrelu", "snb", -1.5, 0.9), ("relu", "mb", 1.4, None), ("linear", "s", 0.7, 2.0)):
        wants = WANTS if parts == "snb" else [(True, True, True)]
        scaled.compare(x, dy, ddx, act, parts, gain, clamp, emulated, wants)


@pytest.mark.parametrize("act", plain.FORMULAS)
def test_bias_act(emulated, act):
    torch.manual_seed(0)
    for shape, (dtype, layout) in zip(SHAPES, product(DTYPES, LAYOUTS), strict=True):
        x, dy, ddx = (plain.normal(shape, dtype, layout) for _ in range(3))
        plain.compare(x, dy, ddx, torch.randn(shape[1]), (act, -0.3, 0.7, 2.0), emulated)
        plain.compare(x, dy, ddx, None, (act, 0.3, -1.5, None), emulated)
