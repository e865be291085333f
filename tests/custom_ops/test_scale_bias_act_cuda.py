"""The CUDA kernels of scale_bias_act, emulated on the CPU: every path of a launch, on small tensors."""

import ctypes

import pytest
import torch

from tests.custom_ops import emulation
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
    }
    emulation.load(["scale_bias_act"], tmp_path_factory.mktemp("emulated"), changes)
    return torch.ops.emulated_ops


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_scale_bias_act(emulated, shape, dtype, layout):
    torch.manual_seed(0)
    x, dy, ddx = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for _ in range(3))
    for alpha, parts, gain, clamp in ((0.3, "snb", -1.5, 0.9), (0.0, "mb", 1.4, None), (1.0, "s", 0.7, 2.0)):
        wants = WANTS if parts == "snb" else [(True, True, True)]
        scaled.compare(x, dy, ddx, alpha, parts, gain, clamp, emulated, wants)


TILES = """
#include "cuda.h"
extern "C" __attribute__((visibility("default")))
void tiles(long samples, long slow, long fast, long most, long* found) {
  const custom_ops::Tiles t(samples, slow, fast, most);
  found[0] = t.steps, found[1] = t.rows, found[2] = t.chunks;
}
"""


def test_no_thread_steps_beyond_the_last_channel(tmp_path):
    """In tensors [N, C, H, W] in that order, where the slow direction is that of the channels."""
    emulation.prepare(tmp_path)
    (tmp_path / "tried.cpp").write_text(TILES)
    library = ctypes.CDLL(str(emulation.compiled([tmp_path / "tried.cpp"], tmp_path / "tried.so")))
    found = (ctypes.c_long * 3)()
    for shape, pack, expected in (
        ((8, 32, 1024, 1024), 4, 4),  # float32, and bfloat16 ...
        ((8, 32, 1024, 1024), 8, 4),
        ((8, 128, 256, 256), 4, 16),
        ((1, 3, 2, 2), 1, 1),
    ):
        N, C, H, W = shape
        library.tiles(*(ctypes.c_long(n) for n in (N, C, H * W // pack, 64)), found)
        steps, rows, chunks = found
        assert steps == expected and (chunks - 1) * steps * rows < C <= chunks * steps * rows
