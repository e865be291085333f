"""`python -m benchmarks.gpu`: a failed step stops no other, time limits hold, and the page shows the outcomes."""

import importlib
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu
from benchmarks.gpu import Step


def step(title: str, program: str, limit: float = 60, **more) -> Step:
    return Step(title, shlex.join(["python", "-c", program]), limit, **more)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(gpu, "GRACE", 0.7)


def test_a_failed_step_stops_no_other(quick, tmp_path):
    sleep = "import time\nprint('begun', flush=True)\ntime.sleep(100)"
    stopped = f"try:\n    {sleep.replace(chr(10), chr(10) + '    ')}\nexcept KeyboardInterrupt:\n    print('saved')"
    found = [
        step("first", "print('well')"),
        step("broken", "raise SystemExit('it broke')"),
        step("slow", sleep, limit=1),
        step("deaf", f"import signal\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\n{sleep}", limit=2),
        step("stopped", stopped, limit=2, stops=True),
        step("absent", "", missing="it is not installed"),
        step("last", "for i in range(99): print(i)", lines=2),
    ]
    gpu.run(found, budget=100, work=tmp_path)
    assert [(s.title, s.status) for s in found] == [
        ("first", "ran"),
        ("broken", "failed"),
        ("slow", "out of time"),
        ("deaf", "out of time"),
        ("stopped", "ran"),
        ("absent", "not run"),
        ("last", "ran"),
    ]
    texts = {s.title: s.text for s in found}
    assert texts["first"] == "well" and texts["broken"] == "it broke" and texts["last"] == "97\n98"
    assert texts["absent"] == "" and texts["stopped"] == "begun\nsaved"


def test_without_time_a_step_is_not_begun(tmp_path):
    found = step("late", "")
    gpu.run([found], budget=0, work=tmp_path)
    assert (found.status, found.missing) == ("not run", "no time was left")


def test_a_page_shows_no_escapes_and_no_paths_of_this_machine(tmp_path):
    text = (
        f"\x1b[31mred\x1b[0m {gpu.ROOT}/train.py {tmp_path}/runs\x07\n10%\r50%\r100%\r\n{Path.home()}/x /tmp/abc/d.py"
    )
    cleaned = gpu.clean(text, tmp_path)
    assert cleaned == "red ./train.py WORK/runs\n100%\n~/x /tmp/..."


def test_the_page_shows_the_outcomes():
    outcomes = [
        step("Building", "x", status="ran", seconds=1.0, text="it was built"),
        step("Sanitizing", "x", missing="it is not installed"),
    ]
    page = gpu.page("PyTorch 9", outcomes)
    assert page.startswith("# On a GPU\n")
    for words in (
        "`make gpu-proof`:\n\n```\nPyTorch 9\n```",
        "| Building | ran | 1 |\n| Sanitizing | not run | 0 |\n",
        "## Building\n\n```sh\npython -c x\n```\n\n```\nit was built\n```\n",
        "Not run: it is not installed.\n",
    ):
        assert words in page


@pytest.mark.parametrize("program, status", [("print(1)", 0), ("raise SystemExit(3)", 1)])
def test_the_command_writes_the_page_and_returns_a_status(monkeypatch, tmp_path, program, status):
    monkeypatch.setattr(gpu, "facts", lambda: "PyTorch 9")
    monkeypatch.setattr(gpu, "PAGE", tmp_path / "gpu.md")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "steps", lambda *_: [step("one", program), step("two", "", missing="no")])
    assert CliRunner().invoke(gpu.main).exit_code == status
    assert "PyTorch 9" in gpu.PAGE.read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence():
    done = CliRunner().invoke(gpu.main)
    assert done.exit_code == 2
    assert " finds no CUDA device, which everything here needs" in done.output


def test_missing_programs_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    every = gpu.steps(None, tmp_path)
    assert {s.title: s.missing for s in every if s.missing} == {
        "Tests that need a GPU": "pytest is not installed",
        "Accesses outside of tensors": "compute-sanitizer is not installed",
        "Threads that miss a barrier": "compute-sanitizer is not installed",
        "Memory that is read before it is written": "compute-sanitizer is not installed",
        "Beside the official code": "no checkout of the official code was given by --official",
    }
    assert every[-1].stops and every[-1].limit == 300


def test_the_programs_understand_their_commands(tmp_path):
    """No step has run on a GPU yet, so at least its flags are parsed."""
    parsed = 0
    for s in gpu.steps("DIR", tmp_path):
        words = shlex.split(s.command)
        name = words[2] if "-m" in words[:2] else words[1].removesuffix(".py")
        if words[0] == "python" and name != "pytest":
            module = importlib.import_module("custom_ops.build.__main__" if name == "custom_ops.build" else name)
            module.main.make_context(name, words[3 if "-m" in words[:2] else 2 :])
            parsed += 1
    assert parsed == 8
