"""Native operators are compared with plain PyTorch before they are used; PyTorch replaces them if one differs."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from custom_ops import build, proof
from tests.custom_ops import trial

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")


@needs_compiler
def test_native_operators_agree_in_milliseconds():
    assert build.implementation("cpu") == "native", build.shortfall("cpu")
    proof.difference(CPU)
    began = time.thread_time()
    assert proof.difference(CPU) == ""
    assert time.thread_time() - began < 0.25  # 25 ms on an idle machine


def off(results, change):
    return change(results) if isinstance(results, torch.Tensor) else (change(results[0]), *results[1:])


def one_number(y):
    y = y.clone()
    y[(-1,) * y.ndim] += 0.1 * y.abs().max()
    return y


def exhaust(y):
    raise RuntimeError("no kernel image is available\nand more")


FAULTS = {
    "one number": (one_number, " is off by "),
    "a constant": (lambda y: y * 1.05, " is off by "),
    "nan": (lambda y: y * float("nan"), " is off by nan "),
    "its shape": (lambda y: y[..., 1:], " has shape "),
    "its layout": (lambda y: y.contiguous().transpose(2, 3).contiguous().transpose(2, 3), " has shape "),
    "an error": (exhaust, " raises RuntimeError: no kernel image is available"),
    "chance": (lambda y: y + torch.rand_like(y) * 1e-6, " gives another result when it is called again"),
}


def operators(**changed):
    return SimpleNamespace(**{name: getattr(torch.ops.custom_ops, name) for name in proof.REFERENCES} | changed)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", proof.REFERENCES)
def test_every_difference_is_seen(fault, name):
    change, words = FAULTS[fault]
    ops = operators(**{name: lambda *a: off(getattr(torch.ops.custom_ops, name)(*a), change)})
    found = proof.difference(CPU, ops)
    assert found.startswith(f"{name} of float32 2x5x7x9 ") and words in found


@pytest.mark.parametrize("layout", proof.LAYOUTS)
def test_a_fault_of_one_type_and_layout_is_seen(layout):
    def upfirdn2d(x, *rest):
        y = torch.ops.custom_ops.upfirdn2d(x, *rest)
        wrong = x.dtype == torch.bfloat16 and x.is_contiguous(memory_format=proof.LAYOUTS[layout])
        return y * 1.02 if wrong else y

    found = proof.difference(CPU, operators(upfirdn2d=upfirdn2d))
    assert found.startswith(f"upfirdn2d of bfloat16 2x5x7x9 {layout} is off by")


def test_a_failed_comparison_stops_nothing(fresh, caplog, monkeypatch):
    monkeypatch.setattr(build, "_load", lambda device_type: True)
    monkeypatch.setattr(build, "compare", trial.failing(RuntimeError("out of something")))
    assert build.load(CPU) and build.load("cpu") and build.implementation(CPU) == "native"
    assert build.shortfall(CPU) == ""
    (record,) = caplog.records
    assert record.getMessage() == (
        "native CPU operators could not be compared with plain PyTorch (RuntimeError: out of something) "
        "and are used all the same"
    )


def modes():
    yield "fake", lambda: FakeTensorMode()
    yield "inference", torch.inference_mode
    yield "no gradients", torch.no_grad
    yield "elsewhere", lambda: torch.device("meta")
    yield "autocast", lambda: torch.autocast("cpu", torch.bfloat16)
    yield "profiled", lambda: torch.autograd.profiler.profile()


@pytest.mark.parametrize("mode", [pytest.param(mode, id=name) for name, mode in modes()])
def test_the_comparison_does_not_depend_on_the_callers_modes(mode, monkeypatch):
    """First use may be within any mode of PyTorch, and changes neither random numbers nor threads."""
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with mode():
        assert build.compare(CPU) == ""
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(proof, "difference", lambda device: f"{torch.get_num_threads()}")
    assert build.compare(CPU) == "1" and torch.get_num_threads() == threads


def _compare_in_a_fork(queue):
    queue.put(build.compare(CPU))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_compare_too():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_compare_in_a_fork, args=[queue])
    child.start()
    child.join(120)
    assert child.exitcode == 0 and queue.get() == ""


BROKEN = """
import sys, warnings
from pathlib import Path
import torch
from custom_ops import bias_act, build, setup_filter, upfirdn2d
from custom_ops.build import library
warnings.simplefilter("error")
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
library.FLAGS["cpu"] = ["-O0", library.STABLE]
library.obtain = lambda device, obtain=library.obtain: obtain(device, folder)
library.roots = lambda: iter([root])
x, f = torch.randn(2, 3, 16, 16, requires_grad=True), setup_filter((1, 3, 3, 1))
y = torch.ops.custom_ops.upfirdn2d(x, f, 2, 1, 2, 1, 2, 1, 4.0, False)  # before anything is loaded
print(build.implementation("cpu"))
assert torch.equal(upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4.0), y)
assert torch.equal(torch.autograd.grad(y.square().sum(), x)[0],
                   torch.autograd.grad(upfirdn2d(x, f, 2, 1, (2, 1, 2, 1), gain=4.0).square().sum(), x)[0])
"""


@needs_compiler
def test_a_library_with_a_changed_constant_is_refused(tmp_path):
    """Compiled, loaded, compared, refused; the results have the bits of plain PyTorch."""
    folder = tmp_path / "sources"
    folder.mkdir()
    sources = Path(proof.__file__).parent
    for file in (sources / "upfirdn2d.cpp", *sources.glob("*.h")):
        text = file.read_text()
        changed = text.replace("(tap * gain)", "(tap * gain * 1.01)")
        (folder / file.name).write_text(changed)
    environment = {key: value for key, value in os.environ.items() if key != "CUSTOM_OPS"}
    command = [sys.executable, "-c", BROKEN, str(folder), str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pytorch\n")
    assert done.stderr.count("native CPU operators are refused, which makes training slower: on ") == 1
    assert "which replaces them (upfirdn2d of float32 2x5x7x9 contiguous is off by" in done.stderr


@pytest.mark.gpu
def test_on_a_gpu():
    device = torch.device("cuda", torch.cuda.current_device())
    assert build.load(device), build.shortfall(device)
    assert proof.difference(device) == ""
    began = time.perf_counter()
    assert proof.difference(device) == ""
    assert time.perf_counter() - began < 1
