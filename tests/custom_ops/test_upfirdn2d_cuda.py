"""The CUDA kernels of upfirdn2d, emulated on the CPU."""

import pytest
import torch
from hypothesis import given, settings

from tests.custom_ops import emulation
from tests.custom_ops.resamplings import LAYOUTS, check, operations

pytestmark = pytest.mark.skipif(not emulation.POSSIBLE, reason="needs a C++ compiler, and Linux")


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    changes = {
        "MOST_BLOCKS = .*;": "MOST_BLOCKS = 3;",  # much to do for each
        "case ScalarType::(Double|Half): .*": "",  # half the time to compile
    }
    emulation.load(["upfirdn2d"], tmp_path_factory.mktemp("emulated"), changes)
    return torch.ops.emulated_ops.upfirdn2d.default


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_in_wide_numbers_and_rounds_once(emulated, dtype, layout):
    @settings(max_examples=80)
    @given(operations())
    def every(operation):
        check(operation, dtype, layout, emulated)

    every()
