"""The real launchers: --gpus and torchrun as users start them, on one machine, and on two that a network joins."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.training.runs import tiny
from tests.training.test_resume import assert_equal_runs

pytestmark = pytest.mark.proof
LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]


def settings(**more: object) -> list[str]:
    sets = {name: value for name, value in tiny(metrics="none", **more).items() if name != "device"}
    return [*(f"--set={name}={value}" for name, value in sets.items()), "--device", "cpu"]


def start(command: Sequence[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def workers_of(launcher: subprocess.Popen) -> list[int]:
    """The processes that it started, by number."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    environments = {int(c): Path(f"/proc/{c}/environ").read_bytes().split(b"\0") for c in children}
    ranked = {int(v.partition(b"=")[2]): c for c, e in environments.items() for v in e if v.startswith(b"RANK=")}
    return [ranked[number] for number in sorted(ranked)]


def is_running(process: int) -> bool:
    """Whether a process is there, and is not merely waiting for its end to be noticed."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_ticks(outdir: Path, ticks: int = 2) -> None:
    deadline = time.monotonic() + 100
    while not any(log.read_text().count("\nkimg ") >= ticks for log in outdir.glob("*/log.txt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def train(*launcher: str, outdir: Path, **more: object) -> list[str]:
    return [*(launcher or [sys.executable]), "train.py", "--outdir", str(outdir), *settings(**more)]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_gpus_names_the_process_that_was_killed(tmp_path, ledger):
    launcher = start([*train(outdir=tmp_path, pace__kimg=100), "--gpus", "4"])
    wait_for_ticks(tmp_path)
    os.kill(workers_of(launcher)[1], signal.SIGKILL)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    told = output.partition("files go to")[2].splitlines()[1:]
    errors = [line for line in told if not line.startswith("kimg ")]
    assert errors == ["Error: process 1 was ended by SIGKILL, perhaps because memory ran out: continue with --resume"]
    ledger.add("kill -9 of one of 4 processes, `--gpus 4`", 1, "the run ends at once, with one sentence that names it")


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_gpus_stops_and_saves_when_its_launcher_was_killed(tmp_path, ledger):
    launcher = start([*train(outdir=tmp_path, pace__kimg=100), "--gpus", "4"])
    wait_for_ticks(tmp_path)
    workers = workers_of(launcher)
    launcher.kill()
    output, _ = launcher.communicate(timeout=100)  # whose end is that of all who write to it
    assert "resume with: " in output and "\nError: " not in output and "Traceback" not in output
    assert not any(is_running(worker) for worker in workers)
    (folder,) = tmp_path.iterdir()
    assert (folder / "state.safetensors").exists()
    ledger.add("kill -9 of the launcher of 4 processes, `--gpus 4`", 1, "they finish their step, save and end")


def test_gpus_stops_and_saves_on_an_interrupt(tmp_path):
    launcher = start([*train(outdir=tmp_path, pace__kimg=100), "--gpus", "2"])
    wait_for_ticks(tmp_path)
    launcher.send_signal(signal.SIGINT)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGINT
    (folder,) = tmp_path.iterdir()
    assert f"resume with: python train.py --resume {folder} --gpus 2 --device cpu" in output
    assert (folder / "state.safetensors").exists()


def test_gpus_tells_a_mistake_once_and_ends_with_2(tmp_path):
    done = start([*train(outdir=tmp_path, pace__kimg=1), "--gpus", "2", "--gamma", "-1"])
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 2 and output.count("Error") == 1
    done = start([*train(outdir=tmp_path, pace__kimg=1), "--gpus", "2", "--batch", "3"])
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 2 and output.count("Error") == 1, output


@pytest.mark.parametrize("processes", [2, 4])
def test_torchrun_starts_killed_processes_again(tmp_path, ledger, processes):
    length = {"pace__kimg": 0.4, "pace__snap": 1, "pace__batch": 8}
    launcher = (*LAUNCHER, "--standalone", f"--nproc-per-node={processes}", "--max-restarts=1")
    whole = start(train(*launcher, outdir=tmp_path / "whole", **length))
    output, _ = whole.communicate(timeout=200)
    assert whole.returncode == 0, output
    killed = start(train(*launcher, outdir=tmp_path / "killed", **length))
    wait_for_ticks(tmp_path / "killed")
    os.kill(workers_of(killed)[-1], signal.SIGKILL)
    output, _ = killed.communicate(timeout=200)
    assert killed.returncode == 0 and "resumed at kimg" in output, output
    (a,), (b,) = (tmp_path / "whole").iterdir(), (tmp_path / "killed").iterdir()
    assert_equal_runs(a, b, log=False)
    ledger.add(
        f"kill -9 of one of {processes} processes, `torchrun --max-restarts 1`",
        1,
        "started again, from the last state: equal to the uninterrupted run, bit for bit",
    )


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[list[list[str]]]:
    """Two network namespaces with a cable between them; gives what runs a command on each."""
    names = [f"proof{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine makes no network namespaces")
    try:
        cables = [f"c{os.getpid()}{letter}" for letter in "ab"]
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for i, (name, cable) in enumerate(zip(names, cables, strict=True)):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "link", "set", cable, "name", "cable")
            ip("-n", name, "addr", "add", f"10.71.9.{i + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [["ip", "netns", "exec", name, "env", "GLOO_SOCKET_IFNAME=cable"] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2")
def test_two_hosts_learn_what_one_learns(tmp_path, two_hosts, ledger):
    """Two machines of two processes, joined by nothing but a network and the disk, against four on one machine."""
    length = {"pace__kimg": 0.16, "pace__batch": 8}

    def nodes() -> list[subprocess.Popen]:
        where = ["--nnodes=2", "--nproc-per-node=2", "--master-addr=10.71.9.1", "--master-port=29511"]
        return [
            start([*host, *train(*LAUNCHER, *where, f"--node-rank={i}", outdir=tmp_path / "two", **length)])
            for i, host in enumerate(two_hosts)
        ]

    together = nodes()
    for node in together:
        output, _ = node.communicate(timeout=200)
        assert node.returncode == 0, output
    one = start(train(*LAUNCHER, "--standalone", "--nproc-per-node=4", outdir=tmp_path / "one", **length))
    output, _ = one.communicate(timeout=200)
    assert one.returncode == 0, output
    (a,), (b,) = (tmp_path / "one").iterdir(), (tmp_path / "two").iterdir()
    assert_equal_runs(a, b)
    assert json.loads((b / "stats.jsonl").read_text().splitlines()[-1])["seen"] == 160
    ledger.add("two hosts of two processes, as network namespaces", 1, "equal to four processes on one, bit for bit")
