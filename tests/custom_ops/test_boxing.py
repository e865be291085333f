"""Calls to native kernels leak no memory."""

import ctypes
import sys
from typing import ClassVar

import pytest
import torch

from custom_ops import bias_act, build, scale_bias_act, setup_filter, upfirdn2d

CALLS = 2000


class Mallinfo(ctypes.Structure):
    """What malloc.h of the GNU C library calls struct mallinfo2."""

    _names: ClassVar = [
        "arena",
        "ordblks",
        "smblks",
        "hblks",
        "hblkhd",
        "usmblks",
        "fsmblks",
        "uordblks",
        "fordblks",
        "keepcost",
    ]
    _fields_: ClassVar = [(name, ctypes.c_size_t) for name in _names]


def bytes_in_use() -> int:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo
    return mallinfo2().uordblks


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library tells its memory on Linux")
@pytest.mark.skipif(build.implementation("cpu") != "native", reason="no native operators here")
def test_calls_leave_no_memory_behind():
    """A name that were lost at every call would be 48 bytes each: a run of a day has a hundred million calls."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library does not tell its memory")
    x, b, f = torch.randn(2, 4, 8, 8), torch.randn(4), setup_filter((1, 3, 3, 1))
    calls = {
        "bias_act": lambda: bias_act(x, b, act="lrelu", clamp=1.0),
        "scale_bias_act": lambda: scale_bias_act(x, torch.ones(2, 4), torch.ones(8, 8), b, act="lrelu"),
        "upfirdn2d": lambda: upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1)),
    }
    with torch.no_grad():
        for name, call in calls.items():
            for _ in range(100):
                call()
            before = bytes_in_use()
            for _ in range(CALLS):
                call()
            assert (bytes_in_use() - before) / CALLS < 16, name
