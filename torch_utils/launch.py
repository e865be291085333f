"""Starts several processes from one command, as `torchrun` does, and keeps short texts that they share.

Texts are kept in the store of the launcher or torchrun, which exists before the process group and survives restarts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import torch

from system.resources import FOLDER, cores
from torch_utils.device import resolve_device
from torch_utils.terminal import put

PATIENCE = 30.0  # minutes that processes wait for one another
GRACE = 60.0  # seconds to save after a signal, before a process is killed
POLLING, SETTLING, LOOK_EVERY = 0.05, 0.2, 0.5  # seconds between looks
ANSWER = timedelta(seconds=10)  # for one request to the store
_MARK = "LAUNCHED_PROCESSES"  # environment variable of started processes: the launcher's process id
STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def check(processes: int, device: str) -> None:
    """Raise ValueError if this machine lacks a device for each process, or torchrun has started the processes.

    `device` is as of `resolve_device`. Any number of processes may share a CPU, but only if it is "cpu", not "auto".
    """
    if started_here():
        return
    if together():
        raise ValueError("torchrun has started the processes already: leave --gpus out")
    kind = resolve_device(device).type
    present = torch.cuda.device_count() if kind == "cuda" else 1
    if device == "cpu" or processes <= present:
        return
    found = f"{present} {kind.upper()} device{'' if present == 1 else 's'}: give --gpus {present} or fewer"
    raise ValueError(f"--gpus {processes}: this machine has {found}, or --device cpu for its CPU")


def started_here() -> bool:
    """Whether `start` has started this process."""
    return _MARK in os.environ


def start(processes: int, program: Sequence[str]) -> int:
    """Run a Python program (a script or `-m`, and arguments) in several processes; return the exit status.

    If one process fails, the others are stopped. Signals are passed on. Processes print their own errors, the launcher
    reports killed ones. The status is 0, that of the first error, or 128 + the signal that stopped the run.
    """
    anywhere = 0  # the system chooses a port
    store = torch.distributed.TCPStore("localhost", anywhere, is_master=True, wait_for_workers=False)
    shared = {
        _MARK: str(os.getpid()),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "TORCHELASTIC_RUN_ID": str(uuid.uuid4()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(cores() // processes, 1))),
    }
    workers: list[subprocess.Popen[bytes]] = []
    stops: list[int] = []  # signals received
    codes: list[int | None] = []

    def pass_on(number: int, frame: object) -> None:
        stops.append(number)
        _tell(workers, number)

    before = {number: signal.signal(number, pass_on) for number in STOPPING}
    try:
        for number in range(processes):
            # In a session of its own: otherwise Ctrl-C would reach it twice.
            environment = os.environ | shared | {"RANK": str(number), "LOCAL_RANK": str(number)}
            workers.append(subprocess.Popen([sys.executable, *program], env=environment, start_new_session=True))
        while not stops and not any(codes := [worker.poll() for worker in workers]) and None in codes:
            time.sleep(POLLING)
        time.sleep(SETTLING if any(codes) else 0)  # a killed worker, which makes others fail, may be seen last
        failed = {number: code for number, worker in enumerate(workers) if (code := worker.poll())}
    finally:
        _stop(workers, stops)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + stops[0] if stops else _outcome(failed)


def follow() -> None:
    """Stop this process by SIGTERM when its launcher is gone, even by SIGKILL, and end it after `GRACE` seconds."""

    def watch() -> None:
        while os.getppid() == int(os.environ[_MARK]):
            time.sleep(LOOK_EVERY)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    if started_here() and os.name == "posix":  # on Windows the parent's id never changes
        threading.Thread(target=watch, daemon=True).start()


def _tell(workers: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for worker in workers:
        with contextlib.suppress(OSError, ValueError):  # the worker has just ended; Windows has few signals
            worker.send_signal(number)


def _stop(workers: Sequence[subprocess.Popen[bytes]], stops: Sequence[int]) -> None:
    """End the remaining workers: by SIGTERM, unless a signal was passed on, then by force."""
    if not stops:
        _tell(workers, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for worker in workers:
        try:
            worker.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _outcome(failed: Mapping[int, int]) -> int:
    """Report killed processes; return the exit status. `failed`: exit codes by rank; a negative code is a signal."""
    killed = sorted(number for number, code in failed.items() if code < 0)
    if killed:
        by = -failed[killed[0]]
        perhaps = ", perhaps because memory ran out" if by == signal.SIGKILL else ""
        name = signal.Signals(by).name if by in set(signal.Signals) else f"signal {by}"
        named = f"process {killed[0]} was" if len(killed) == 1 else f"processes {', '.join(map(str, killed))} were"
        put(f"Error: {named} ended by {name}{perhaps}: continue with --resume\n", sys.stderr)
    return 1 if killed or 1 in failed.values() else max(failed.values(), default=0)


def together() -> bool:
    """Whether this is one of several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def number() -> int:
    """The rank of this process, also before there is a process group."""
    return int(os.environ.get("RANK", "0"))


def has_store() -> bool:
    """Whether there is a store that outlives the processes: torchrun's, or that of `start`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leave_note(name: str, text: str) -> str:
    """Store a text unless one of that name exists; return the stored text, which may be another process's."""
    try:
        return _store().compare_set(name, "", text).decode()
    except (RuntimeError, KeyError, ValueError):  # no answer, or no address from torchrun
        return text


def read_note(name: str) -> str | None:
    """A stored text; None if there is none, as always without `torchrun`."""
    with contextlib.suppress(RuntimeError, KeyError, ValueError):
        if has_store() and _store().check([name]):
            return _store().get(name).decode()
    return None


class FirstError(NamedTuple):
    """The error that ended a run: the rank that failed, the exit status of all ranks, and the message."""

    process: int
    status: int
    text: str


def first_error(error: Exception) -> FirstError:
    """The first error of all processes: `error`, unless another process failed before. Later ones are consequences."""
    mine = f"{number()} {2 if isinstance(error, ValueError | OSError) else 1} {type(error).__name__}: {error}"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # how often torchrun has restarted the processes
    told = leave_note(f"error of attempt {attempt}", mine) if together() else mine
    process, status, text = told.split(" ", 2)
    return FirstError(int(process), int(status), text)


def meet(patience: timedelta) -> torch.distributed.Store:
    """Wait for all processes; return a part of the store that only they use. Raises TimeoutError if some did not come.

    After a restart, torchrun's store still holds the addresses of dead processes, and connecting to one would hang; its
    restart count differs between machines. So rank 0 lists the living processes, and each of them confirms the list.
    """
    store, me, deadline = _store(), uuid.uuid4().hex, time.monotonic() + patience.total_seconds()
    world = int(os.environ["WORLD_SIZE"])
    places = [f"place {number}" for number in range(world)]
    store.set(places[number()], me)
    while time.monotonic() < deadline:
        if number() == 0 and store.check(places):
            store.set("list", ",".join(store.get(place).decode() for place in places))
        listed = store.get("list").decode() if store.check(["list"]) else ""
        if me in listed.split(","):
            store.set(f"{me} signed {listed}", "")
            if store.check([f"{other} signed {listed}" for other in listed.split(",")]):
                return torch.distributed.PrefixStore(listed, store)
        time.sleep(0.02)
    missing = world - sum(store.check([place]) for place in places)
    raise TimeoutError(
        f"{missing or 'some'} of the {world} processes did not start within {patience.total_seconds() / 60:g} minutes: "
        f"look at the output of the other machines, and check that they reach this one"
    )


@cache
def _store() -> torch.distributed.Store:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = torch.distributed.TCPStore(address, port, is_master=False, timeout=ANSWER, wait_for_workers=False)
    return torch.distributed.PrefixStore(FOLDER, store)  # PyTorch does not use this prefix
