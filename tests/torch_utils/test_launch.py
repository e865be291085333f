"""--gpus: who may start how many processes, and what is said of their end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from torch_utils import launch

CPU_ONLY = "--gpus 2: this machine has 1 CPU device: give --gpus 1 or fewer, or --device cpu for its CPU"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("WORLD_SIZE", "LAUNCHED_PROCESSES"):
        monkeypatch.delenv(name, raising=False)


def machine(monkeypatch, cuda: int = 0) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    "cuda, processes, device, sentence",
    [
        (0, 1, "auto", None),
        (0, 2, "auto", CPU_ONLY),
        (0, 2, "cpu", None),
        (2, 2, "auto", None),
        (
            2,
            3,
            "auto",
            "--gpus 3: this machine has 2 CUDA devices: give --gpus 2 or fewer, or --device cpu for its CPU",
        ),
        (1, 8, "cuda", "--gpus 8: this machine has 1 CUDA device: give --gpus 1 or fewer, or --device cpu for its CPU"),
        (2, 3, "cpu", None),
    ],
)
def test_as_many_as_there_are(monkeypatch, cuda, processes, device, sentence):
    machine(monkeypatch, cuda)
    if sentence is None:
        launch.check(processes, device)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            launch.check(processes, device)


def test_under_torchrun_it_does_not_apply(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"^torchrun has started the processes already: leave --gpus out$"):
        launch.check(2, "cpu")


@pytest.mark.parametrize(
    "codes, status, told",
    [
        ({1: 2}, 2, ""),
        ({0: 1, 3: 1}, 1, ""),
        (
            {0: 1, 1: -9},
            1,
            "Error: process 1 was ended by SIGKILL, perhaps because memory ran out: continue with --resume\n",
        ),
        (
            {1: -9, 3: -9},
            1,
            "Error: processes 1, 3 were ended by SIGKILL, perhaps because memory ran out: continue with --re",
        ),
        ({2: -11}, 1, "Error: process 2 was ended by SIGSEGV: continue with --resume\n"),
        ({2: -62}, 1, "Error: process 2 was ended by signal 62: continue with --resume\n"),
        ({}, 0, ""),
    ],
)
def test_the_end_in_a_sentence(capsys, codes, status, told):
    assert launch._outcome(codes) == status
    assert capsys.readouterr().err.startswith(told) and (told or not capsys.readouterr().err)


# What the processes run: it needs nothing of PyTorch, and leaves what it saw in a file of its own.
WORKER = """
import os, signal, sys, time
from pathlib import Path
rank, ways = int(os.environ["RANK"]), sys.argv[1:]
mine = Path(f"rank{rank}")
def note(text):
    mine.with_suffix(".new").write_text(text)
    mine.with_suffix(".new").rename(mine)
def leave(number, frame):
    note(f"stopped by {signal.Signals(number).name}")
    sys.exit(0)
note(" ".join(f"{name}={os.environ[name]}" for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, leave)
Path(f"ready{rank}").touch()
while len(list(Path.cwd().glob("ready*"))) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.01)
way = ways[rank]
if way == "wait":
    time.sleep(60)
if way == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
if way.startswith("SIG"):
    signal.signal(signal.Signals[way], signal.SIG_DFL) if way != "SIGKILL" else None
    os.kill(os.getpid(), signal.Signals[way])
sys.exit(int(way))
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("worker.py").write_text(WORKER)
    return lambda *ways: launch.start(len(ways), ["worker.py", *ways])


def left() -> list[str]:
    return [path.read_text() for path in sorted(Path().glob("rank?"))]


def test_all_are_started_and_waited_for(worker):
    assert worker("0", "0", "0") == 0
    assert left() == [f"RANK={n} LOCAL_RANK={n} WORLD_SIZE=3" for n in range(3)]
    assert "LAUNCHED_PROCESSES" not in os.environ and "RANK" not in os.environ


def test_when_one_fails_the_others_are_stopped(worker, capfd):
    assert worker("wait", "2", "wait") == 2
    assert left()[::2] == ["stopped by SIGTERM"] * 2 and capfd.readouterr().err == ""


@pytest.mark.parametrize("by", ["SIGKILL", "SIGSEGV"])
def test_of_four_the_one_that_was_killed_is_told(worker, capfd, by):
    assert worker("wait", "wait", by, "wait") == 1
    told = capfd.readouterr().err
    assert told.startswith(f"Error: process 2 was ended by {by}") and told.count("\n") == 1


def test_those_that_fail_since_another_was_killed_are_not_told(worker, capfd):
    assert worker("1", "SIGKILL", "1", "1") == 1
    assert capfd.readouterr().err == (
        "Error: process 1 was ended by SIGKILL, perhaps because memory ran out: continue with --resume\n"
    )


def test_one_that_does_not_stop_is_killed(worker, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.3)
    assert worker("deaf", "2") == 2


LAUNCHER = "from torch_utils import launch; import sys; sys.exit(launch.start(2, ['worker.py', *sys.argv[1:]]))"


def launcher(*ways: str) -> "subprocess.Popen[str]":
    """`start` in a process of its own, in which the workers have begun."""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, *ways], env=env, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(Path().glob("ready*"))) == 2)
    return process


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on(worker, by):
    process = launcher("wait", "wait")
    process.send_signal(by)
    assert process.wait(60) == 128 + by and process.stderr.read() == ""
    assert left() == [f"stopped by {by.name}"] * 2


FOLLOWER = """
from torch_utils import launch
launch.follow()
"""


def test_they_follow_a_launcher_that_was_killed(worker):
    Path("worker.py").write_text(FOLLOWER + WORKER)
    process = launcher("wait", "wait")
    process.kill()
    process.wait(60)
    wait_until(lambda: left() == ["stopped by SIGTERM"] * 2)


def test_one_that_comes_too_late_does_not_stay(worker, monkeypatch):
    """The launcher may be gone before its processes have imported PyTorch."""
    env = {"LAUNCHED_PROCESSES": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    code = "from torch_utils import launch; import time; launch.follow(); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | env, timeout=60).returncode == -signal.SIGTERM
