"""Native operators prove themselves before they serve: what differs is refused, and the proof is never in the way."""

import json
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
from custom_ops.build import verdict
from tests.custom_ops import trial
from tests.custom_ops.test_build import fresh  # noqa: F401  # a fixture

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
    "chance": (lambda y: y + torch.rand_like(y) * 1e-6, " differs from itself when it is called again"),
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


@pytest.fixture
def library(tmp_path) -> Path:
    return tmp_path / "0123456789abcdef.so"


def counting(found=None, error: Exception | None = None) -> tuple[verdict.Proof, list[torch.device]]:
    """A proof that notes when it compares."""
    asked: list[torch.device] = []

    def differences(device):
        asked.append(device)
        if error:
            raise error
        return found or {}

    return verdict.Proof(differences, {"one": {}, "two": {}}, "v1"), asked


def test_a_verdict_is_reached_once_for_a_library_and_a_model(library, monkeypatch):
    how, asked = counting({"one": "is off"})
    assert [verdict.reach(how, library, CPU) for _ in range(2)] == [{"one": "is off"}] * 2
    assert len(asked) == 1
    (file,) = library.parent.glob("*.json")
    assert file.name.startswith("0123456789abcdef-") and file.name.replace(".json", "").replace("-", "").isalnum()
    monkeypatch.setattr(verdict, "model", lambda device: "NVIDIA H200 / 141 GB")
    verdict.reach(how, library, CPU)
    assert len(asked) == 2 and (library.parent / "0123456789abcdef-NVIDIA-H200-141-GB.json").exists()
    verdict.reach(how, library.with_stem("fedcba9876543210"), CPU)
    assert len(asked) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"{}",
        b'{"version": "v0", "differences": {}}',
        b'{"version": "v1", "differences": {"three": "unknown"}}',
        b'{"version": "v1", "differences": [1, 2]}',
        b'{"version": "v1", "differences": 7}',
        b"[" * 60_000,
        b'{"version": "v1", "differences": {}, "more": "' + b"x" * 10**6 + b'"}',
    ],
)
def test_a_record_that_is_damaged_or_of_another_version_does_not_count(library, content):
    how, asked = counting()
    verdict.reach(how, library, CPU)
    (file,) = library.parent.glob("*.json")
    file.write_bytes(content)
    assert verdict.reach(how, library, CPU) == {} and len(asked) == 2
    assert json.loads(file.read_text()) == {"version": "v1", "differences": {}}


def test_a_record_cannot_speak_to_the_terminal(library):
    how, _ = counting({"one": "\x1b]0;owned\x07 is\noff"})
    verdict.reach(how, library, CPU)
    (why,) = verdict.reach(how, library, CPU).values()
    assert why.isprintable()


def test_where_nothing_can_be_kept_every_process_compares(tmp_path):
    how, asked = counting({"two": "is off"})
    (tmp_path / "file").write_text("")
    library = tmp_path / "file" / "0123456789abcdef.so"  # no folder, whoever asks
    assert [verdict.reach(how, library, CPU) for _ in range(2)] == [{"two": "is off"}] * 2 and len(asked) == 2


@pytest.fixture
def served(fresh, monkeypatch, library):  # noqa: F811
    """A library that is there, of operators that are compared as a test says."""

    def by(how):
        monkeypatch.setattr(build, "_load", lambda device_type: library)
        monkeypatch.setattr(build, "proof", how)
        overruled = []
        monkeypatch.setattr(verdict, "overrule", lambda proof, group, device_type: overruled.append(group))
        return overruled

    return by


def test_a_proof_that_fails_is_no_reason_not_to_start(served, library, caplog):
    how, _ = counting(error=RuntimeError("out of something"))
    overruled = served(how)
    assert build.load(CPU) and build.load(CPU) and build.implementation(CPU) == "native" and overruled == []
    assert build.shortfall(CPU) == "" and not list(library.parent.glob("*.json"))
    assert {record.getMessage() for record in caplog.records} == {
        "native CPU operators could not be compared with plain PyTorch (RuntimeError: out of something) "
        "and serve all the same"
    }


def test_what_is_refused_is_said_once_and_the_rest_serves(served, caplog, monkeypatch):
    how, asked = counting({"two": "add of float32 is off"})
    overruled = served(how)
    monkeypatch.setattr(verdict, "model", lambda device: "NVIDIA H200")
    for device in (CPU, "cpu", CPU):
        assert build.load(device) and build.implementation(device) == "native (except two)"
    assert overruled == ["two"] and len(asked) == 1
    why = (
        "on NVIDIA H200 these differ from plain PyTorch, which serves in their place: two (add of float32 is off): "
        "report it with the output of python -m custom_ops.build"
    )
    assert build.shortfall(CPU) == why
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"native CPU operators are refused, which makes training slower: {why}"


def test_where_all_are_refused_pytorch_serves(served):
    overruled = served(counting({"one": "is off", "two": "is off"})[0])
    assert not build.load(CPU) and build.implementation(CPU) == "pytorch" and sorted(overruled) == ["one", "two"]


def modes():
    yield "fake", lambda: FakeTensorMode()
    yield "inference", torch.inference_mode
    yield "no gradients", torch.no_grad
    yield "elsewhere", lambda: torch.device("meta")
    yield "autocast", lambda: torch.autocast("cpu", torch.bfloat16)
    yield "deterministic", lambda: torch.autograd.profiler.profile()


@pytest.mark.parametrize("mode", [pytest.param(mode, id=name) for name, mode in modes()])
def test_whatever_the_caller_is_at_the_proof_is_the_same(library, mode):
    """First use may be within any mode of PyTorch, and leaves its random numbers alone."""
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with mode():
        assert verdict.reach(proof.PROOF, library, CPU) == {}
    assert torch.equal(before, torch.get_rng_state())
    assert [verdict._elsewhere(lambda: [torch.get_num_threads()]), torch.get_num_threads()] == [[1], threads]


def _compare_in_a_fork(queue):
    queue.put(verdict._elsewhere(lambda: proof.differences(CPU)))


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
from custom_ops.build import cache, toolchain
from custom_ops.proof import REFERENCES
warnings.simplefilter("error")
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
toolchain.CPU_FLAGS = ("-O0", toolchain.STABLE)
toolchain.TARGETS["cpu"] = lambda: toolchain.cpu_target(folder)
cache.roots = lambda: iter([root])
x, f = torch.randn(2, 3, 16, 16, requires_grad=True), setup_filter((1, 3, 3, 1))
arguments = (f, 2, 2, 1, 1, 2, 1, 2, 1, 4.0, False)
y = torch.ops.custom_ops.upfirdn2d(x, *arguments)  # before anything is loaded
print(build.implementation("cpu"))
assert torch.equal(upfirdn2d(x, f, up=2, padding=(2, 1, 2, 1), gain=4.0), y)
assert torch.equal(torch.autograd.grad(y.square().sum(), x)[0],
                   torch.autograd.grad(upfirdn2d(x, f, 2, 1, (2, 1, 2, 1), gain=4.0).square().sum(), x)[0])
if len(sys.argv) > 3:
    from tests.training.runs import train
    print((train(Path(sys.argv[3]), pace__kimg=0.004) / "log.txt").read_text())
else:
    from custom_ops import proof
    proof.differences = None  # the record suffices
"""


@needs_compiler
def test_a_library_with_a_changed_constant_is_refused_and_the_log_of_a_run_says_so(tmp_path):
    """In earnest: compiled, loaded, compared, refused; plain PyTorch gives its bits, and in a second process again."""
    folder = tmp_path / "sources"
    folder.mkdir()
    sources = Path(proof.__file__).parent
    for file in (sources / "upfirdn2d.cpp", *sources.glob("*.h")):
        text = file.read_text()
        changed = text.replace("taps[flip ? k : n - 1 - k] * gain", "taps[flip ? k : n - 1 - k] * (gain * 1.01)")
        (folder / file.name).write_text(changed)
    environment = {key: value for key, value in os.environ.items() if key != "CUSTOM_OPS"}
    for more in ([str(tmp_path / "runs")], []):
        command = [sys.executable, "-c", BROKEN, str(folder), str(tmp_path / "root"), *more]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("native (except upfirdn2d)\n")
        refusal = "native CPU operators are refused, which makes training slower: on "
        assert done.stderr.count(refusal) == 1
        assert (
            "which serves in their place: upfirdn2d (upfirdn2d of float32 2x5x7x9 contiguous is off by" in done.stderr
        )
        if more:
            assert "on cpu in fp32, native (except upfirdn2d) operators" in done.stdout
            assert "\nnative operators are partly off: on " in done.stdout
    assert len(list((tmp_path / "root").glob("cpu-*/*.json"))) == 1


@pytest.mark.gpu
def test_on_a_gpu():
    device = torch.device("cuda", torch.cuda.current_device())
    assert build.load(device), build.shortfall(device)
    assert proof.differences(device) == {}
    began = time.perf_counter()
    assert proof.differences(device) == {}
    assert time.perf_counter() - began < 1
