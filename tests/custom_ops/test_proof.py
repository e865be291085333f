"""Native operators are compared with plain PyTorch before they serve; those that differ are refused."""

import logging
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
OPERATORS = [(group, name) for group, operators in proof.REFERENCES.items() for name in operators]
needs_compiler = pytest.mark.skipif(trial.COMPILER is None, reason="needs a C++ compiler")


@needs_compiler
def test_native_operators_agree_in_milliseconds():
    assert build.implementation("cpu") == "native", build.shortfall("cpu")
    proof.differences(CPU)
    began = time.thread_time()
    assert proof.differences(CPU) == {}
    assert time.thread_time() - began < 0.25  # 25 ms on an idle machine


def off(results, change):
    return change(results) if isinstance(results, torch.Tensor) else (change(results[0]), *results[1:])


def one_number(y):
    y = y.clone()
    y.flatten()[-1] += 0.1 * y.abs().max()
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


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("group, name", OPERATORS)
def test_whatever_differs_is_seen_and_nothing_else_is_blamed(fault, group, name):
    change, words = FAULTS[fault]
    ops = SimpleNamespace(**{operator: getattr(torch.ops.custom_ops, operator) for _, operator in OPERATORS})
    setattr(ops, name, lambda *a: off(getattr(torch.ops.custom_ops, name)(*a), change))
    found = proof.differences(CPU, ops)
    assert list(found) == [group] and found[group].startswith(f"{name} of float32 2x5x7x9 ") and words in found[group]


@pytest.mark.parametrize("dtype, layout", [("bfloat16", "contiguous"), ("bfloat16", "channels_last")])
def test_a_fault_of_one_type_and_layout_is_seen(dtype, layout):
    def upfirdn2d(x, *rest):
        y = torch.ops.custom_ops.upfirdn2d(x, *rest)
        wrong = x.dtype == getattr(torch, dtype) and x.is_contiguous(memory_format=proof.LAYOUTS[layout])
        return y * 1.02 if wrong else y

    ops = SimpleNamespace(**{operator: getattr(torch.ops.custom_ops, operator) for _, operator in OPERATORS})
    ops.upfirdn2d = upfirdn2d
    assert proof.differences(CPU, ops)["upfirdn2d"].startswith(f"upfirdn2d of {dtype} 2x5x7x9 {layout} is off by")


def counting(found=None, error: Exception | None = None) -> tuple[build.Proof, list[torch.device]]:
    """A proof that notes when it compares."""
    asked: list[torch.device] = []

    def differences(device):
        asked.append(device)
        if error:
            raise error
        return found or {}

    return build.Proof(differences, {"one": {}, "two": {}}), asked


@pytest.fixture
def served(fresh, monkeypatch):
    """Loaded operators that are compared as a test says."""

    def by(proof):
        monkeypatch.setattr(build, "_load", lambda device_type: True)
        monkeypatch.setattr(build, "proof", proof)

    return by


def test_a_failed_comparison_stops_nothing(served, caplog):
    served(counting(error=RuntimeError("out of something"))[0])
    assert build.load(CPU) and build.load(CPU) and build.implementation(CPU) == "native"
    assert build.shortfall(CPU) == ""
    assert {record.getMessage() for record in caplog.records} == {
        "native CPU operators could not be compared with plain PyTorch (RuntimeError: out of something) "
        "and are used all the same"
    }


def test_refused_operators_are_told_once_and_the_others_serve(served, caplog, monkeypatch):
    how, asked = counting({"two": "add of float32 is off"})
    served(how)
    monkeypatch.setattr(build, "model", lambda device: "NVIDIA H200")
    for device in (CPU, "cpu", CPU):
        assert build.load(device) and build.implementation(device) == "native (except two)"
    assert len(asked) == 2  # for the device, and for its type
    why = (
        "on NVIDIA H200 these differ from plain PyTorch, which replaces them: two (add of float32 is off): "
        "report it with the output of python -m custom_ops.build"
    )
    assert build.shortfall(CPU) == why
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"native CPU operators are refused, which makes training slower: {why}"


def test_where_all_are_refused_pytorch_serves(served):
    served(counting({"one": "is off", "two": "is off"})[0])
    assert not build.load(CPU) and build.implementation(CPU) == "pytorch"


def modes():
    yield "fake", lambda: FakeTensorMode()
    yield "inference", torch.inference_mode
    yield "no gradients", torch.no_grad
    yield "elsewhere", lambda: torch.device("meta")
    yield "autocast", lambda: torch.autocast("cpu", torch.bfloat16)
    yield "deterministic", lambda: torch.autograd.profiler.profile()


@pytest.mark.parametrize("mode", [pytest.param(mode, id=name) for name, mode in modes()])
def test_the_comparison_does_not_depend_on_the_callers_modes(mode, monkeypatch):
    """First use may be within any mode of PyTorch, and leaves its random numbers and threads alone."""
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with mode():
        assert build.compare(CPU) == {}
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(build, "proof", build.Proof(lambda device: {"threads": str(torch.get_num_threads())}, {}))
    assert build.compare(CPU) == {"threads": "1"} and torch.get_num_threads() == threads


def _compare_in_a_fork(queue):
    queue.put(build.compare(CPU))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_prove_too():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_compare_in_a_fork, args=[queue])
    child.start()
    child.join(120)
    assert child.exitcode == 0 and queue.get() == {}


BROKEN = """
import shutil, sys, warnings
from pathlib import Path
import torch
from custom_ops import build, setup_filter, upfirdn2d
from custom_ops.build import library, toolchain
warnings.simplefilter("error")
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
toolchain.CPU_FLAGS = ("-O0", toolchain.STABLE)
toolchain.TARGETS["cpu"] = lambda: toolchain.cpu_target(folder)
library.roots = lambda: iter([root])
x, f = torch.randn(2, 3, 16, 16, requires_grad=True), setup_filter((1, 3, 3, 1))
arguments = (f, 2, 2, 1, 1, 2, 1, 2, 1, 4.0, False)
y = torch.ops.custom_ops.upfirdn2d(x, *arguments)  # before anything is loaded
print(build.implementation("cpu"))
assert torch.equal(upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4.0), y)
assert torch.equal(torch.autograd.grad(y.square().sum(), x)[0],
                   torch.autograd.grad(upfirdn2d(x, f, 2, 1, (2, 1, 2, 1), gain=4.0).square().sum(), x)[0])
"""


@needs_compiler
def test_a_library_with_a_changed_constant_is_refused(tmp_path):
    """In earnest: compiled, loaded, compared, refused; plain PyTorch gives its bits."""
    folder = tmp_path / "sources"
    folder.mkdir()
    sources = Path(proof.__file__).parent
    for file in (sources / "upfirdn2d.cpp", *sources.glob("*.h")):
        text = file.read_text()
        changed = text.replace("taps[flip ? k : n - 1 - k] * gain", "taps[flip ? k : n - 1 - k] * (gain * 1.01)")
        (folder / file.name).write_text(changed)
    environment = {key: value for key, value in os.environ.items() if key != "CUSTOM_OPS"}
    command = [sys.executable, "-c", BROKEN, str(folder), str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("native (except upfirdn2d)\n")
    assert done.stderr.count("native CPU operators are refused, which makes training slower: on ") == 1
    assert "which replaces them: upfirdn2d (upfirdn2d of float32 2x5x7x9 contiguous is off by" in done.stderr


@pytest.mark.gpu
def test_on_a_gpu():
    device = torch.device("cuda", torch.cuda.current_device())
    assert build.load(device), build.shortfall(device)
    assert proof.differences(device) == {}
    began = time.perf_counter()
    assert proof.differences(device) == {}
    assert time.perf_counter() - began < 1
