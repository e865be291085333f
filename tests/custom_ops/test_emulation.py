"""The emulation of CUDA finds faults: kernels with one fault each, beside the same kernels without it."""

import ctypes
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.custom_ops import emulation

pytestmark = pytest.mark.skipif(not emulation.POSSIBLE, reason="needs a C++ compiler, and Linux")

KERNELS = """
#include "cuda_runtime.h"
constexpr int N = 64;
struct alignas(16) Four { float at[4]; };

// Turns rows of N numbers around.
template <bool FIRST, bool SECOND>
__global__ void turn(const float* x, float* y, int rows) {
  __shared__ float row[N];
  for (int i = 0; i < rows; ++i) {
    row[threadIdx.x] = x[i * N + threadIdx.x];
    if (FIRST) __syncthreads();
    y[i * N + threadIdx.x] = row[N - 1 - threadIdx.x];
    if (SECOND) __syncthreads();
  }
}

// Sums as many numbers as were written, or one more.
template <int MORE>
__global__ void sum(const float* x, float* y, int) {
  __shared__ float all[N + 1];
  all[threadIdx.x] = x[blockIdx.x * N + threadIdx.x];
  __syncthreads();
  float total = 0;
  for (int i = 0; i < N + MORE; ++i) total += all[i];
  y[blockIdx.x * N + threadIdx.x] = total;
}

template <int OFFSET>
__global__ void wide(const float* x, float* y, int) {
  if (threadIdx.x) return;
  for (int i = 0; i + 4 <= N; i += 4)
    *reinterpret_cast<Four*>(y + i + OFFSET) = __ldg(reinterpret_cast<const Four*>(x + i + OFFSET));
}

template <int LENGTH>
__global__ void within(const float* x, float* y, int rows) {
  __shared__ float few[N];
  few[(threadIdx.x + rows) % LENGTH] = x[0];
}

#define RUN(name, kernel) extern "C" __attribute__((visibility("default"))) \\
  void name(const float* x, float* y, int rows, int blocks) { emulation::launch(kernel, blocks, N, x, y, rows); }
RUN(turns, (turn<true, true>))
RUN(turns_without_the_first_barrier, (turn<false, true>))
RUN(turns_without_the_second_barrier, (turn<true, false>))
RUN(sums, sum<0>)
RUN(sums_what_was_not_written, sum<1>)
RUN(copies_wide, wide<0>)
RUN(copies_wide_from_an_odd_place, wide<1>)
RUN(stays_within, within<N>)
RUN(runs_beyond, within<N + 9>)
"""
ROWS = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulated")
    (folder / "kernels.cpp").write_text(emulation.shared(KERNELS))
    return emulation.compiled([folder / "kernels.cpp"], folder / "kernels.so")


def run(library, name, blocks=1) -> list[float]:
    aligned = ctypes.c_float * (ROWS * 64 + 8)
    x, y = aligned(*range(ROWS * 64)), aligned()
    assert ctypes.addressof(x) % 16 == ctypes.addressof(y) % 16 == 0
    getattr(ctypes.CDLL(str(library)), name)(x, y, ROWS, blocks)
    return list(y)[: ROWS * 64]


TURNED = [float(row * 64 + 63 - i) for row in range(ROWS) for i in range(64)]


def test_what_is_right_passes(library):
    assert run(library, "turns") == TURNED
    assert run(library, "sums", blocks=ROWS) == [
        sum(range(row * 64, row * 64 + 64)) for row in range(ROWS) for _ in range(64)
    ]
    assert run(library, "copies_wide")[:64] == list(range(64))
    run(library, "stays_within")


@pytest.mark.parametrize("name", ["turns_without_the_first_barrier", "turns_without_the_second_barrier"])
def test_a_barrier_that_is_missed_changes_the_result(library, name):
    assert run(library, name) != TURNED


def test_numbers_that_nobody_wrote_are_nan_in_every_block(library):
    assert all(number != number for number in run(library, "sums_what_was_not_written", blocks=ROWS))


@pytest.mark.parametrize("name", ["copies_wide_from_an_odd_place", "runs_beyond"])
def test_what_ends_a_gpu_ends_the_process(library, name):
    program = f"from tests.custom_ops import test_emulation; test_emulation.run({str(library)!r}, {name!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGILL, done.stderr


FAULTS = {  # in the kernels that are in use: where, what is changed, and into what
    "barrier between halves of a sum": (
        "scale_bias_act",
        r"__syncthreads\(\);\s*if \(threadIdx.x < half\)",
        "if (threadIdx.x < half)",
    ),
    "barrier after a sum": ("scale_bias_act", r"(const S sum = shared\[threadIdx.x\];\s*)__syncthreads\(\);", r"\1"),
    "a step too few": ("scale_bias_act", r"step < tiles.steps", "step < tiles.steps - 1"),
    "parts over the wrong number": ("scale_bias_act", r"\*parts\[i\], \{\{1\}\}", "*parts[i], {{0}}"),
    "wide accesses to any place": ("scale_bias_act", r"length % WIDTH<T> == 0 && \(fits", "(true || fits"),
    "barrier after the taps": (
        "upfirdn2d",
        r"(f.at<W>\(threadIdx.x / 4, threadIdx.x % 4\);\s*)__syncthreads\(\);",
        r"\1",
    ),
}


@pytest.mark.proof
@pytest.mark.parametrize("fault", FAULTS)
def test_the_tests_of_the_kernels_see_every_fault(fault):
    name, pattern, by = FAULTS[fault]
    environment = os.environ | {"EMULATED_CHANGES": json.dumps({pattern: by})}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        f"tests/custom_ops/test_{name}_cuda.py",
        "-k",
        "not no_thread",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode in (1, -signal.SIGILL) and "nothing is like" not in done.stdout, done.stdout
