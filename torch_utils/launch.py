"""Starts several processes from one command, as `torchrun` does, and reports their end in one sentence.

The launcher hosts the store in which the processes find one another. The processes stop if the launcher is gone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist

from system.machine import cores
from torch_utils import notices
from torch_utils.device import resolve_device
from torch_utils.terminal import put

GRACE = 60.0  # seconds to save after a signal, before a process is killed
POLLING, SETTLING, LOOK_EVERY = 0.05, 0.2, 0.5  # seconds between looks
_MARK = "LAUNCHED_PROCESSES"  # environment variable of started processes: the launcher's process id
STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def check(processes: int, device: str) -> None:
    """Check that this machine has a device for each process.

    Args:
        processes: their number.
        device: as of `resolve_device`. Any number of processes may share a CPU, but only if it is "cpu", not "auto".

    Raises:
        ValueError: there are too few devices, or torchrun has started the processes.
    """
    if notices.together():
        if not started_here():
            raise ValueError("torchrun has started the processes already: leave --gpus out")
        return
    kind = resolve_device(device).type
    present = torch.cuda.device_count() if kind == "cuda" else 1
    if device == "cpu" or processes <= present:
        return
    if kind == "cpu":
        raise ValueError(
            f"--gpus {processes}: this machine has no CUDA device; on its CPU, --device cpu runs {processes} processes"
        )
    found = f"{present} {kind.upper()} device{'' if present == 1 else 's'}"
    raise ValueError(f"--gpus {processes}: this machine has {found}: give --gpus {present} or fewer")


def started_here() -> bool:
    """Whether `start` has started this process."""
    return _MARK in os.environ


def start(processes: int, program: Sequence[str]) -> int:
    """Run a Python program in several processes, as `torchrun --standalone` does, and wait for their end.

    If one process fails, the others are stopped. Signals that would end the launcher are passed on. Processes print
    their own errors; the launcher only reports a killed process.

    Args:
        processes: their number.
        program: a script and its arguments, or `-m`, a module and its arguments.

    Returns:
        The exit status: 0, the status of the first error, or 128 + the number of the signal that stopped the run.
    """
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # the system chooses a port
    shared = {
        _MARK: str(os.getpid()),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": str(uuid.uuid4()),
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(cores() // processes, 1))),
    }
    workers: list[subprocess.Popen[bytes]] = []
    with _passing_on(workers) as stops:
        try:
            for number in range(processes):
                own = {"RANK": str(number), "LOCAL_RANK": str(number)}
                # In a session of its own: otherwise Ctrl-C would reach it twice.
                command, environment = [sys.executable, *program], os.environ | shared | own
                workers.append(subprocess.Popen(command, env=environment, start_new_session=True))
            failed = _first_failures(workers, stops)
        finally:
            _stop(workers, stops)
    return 128 + stops[0] if stops else _outcome(failed)


def follow() -> None:
    """Stop this process when its launcher is gone, even by SIGKILL.

    The process gets a SIGTERM, so training finishes the step and saves. It is ended after `GRACE` seconds.
    """
    if started_here() and os.name == "posix":  # on Windows the parent's id never changes
        threading.Thread(target=_watch, args=(int(os.environ[_MARK]),), daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


@contextmanager
def _passing_on(workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Within the block, pass signals on to the workers. Yields the numbers of the signals received."""
    stops: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        stops.append(number)
        for worker in workers:
            _tell(worker, number)

    before = {number: signal.signal(number, pass_on) for number in STOPPING}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_failures(workers: Sequence[subprocess.Popen[bytes]], stops: Sequence[int]) -> dict[int, int]:
    """Wait for the end of all workers, the first failure, or a signal; return the exit codes of failed workers."""
    while not stops:
        codes = {number: worker.poll() for number, worker in enumerate(workers)}
        if any(codes.values()):
            time.sleep(SETTLING)  # a killed worker, which makes others fail, may be seen last
            codes = {number: worker.poll() for number, worker in enumerate(workers)}
            return {number: code for number, code in codes.items() if code}
        if None not in codes.values():
            break
        time.sleep(POLLING)
    return {}


def _stop(workers: Sequence[subprocess.Popen[bytes]], stops: Sequence[int]) -> None:
    """End the remaining workers: by SIGTERM, unless a signal was passed on, then by force."""
    if not stops:
        for worker in workers:
            _tell(worker, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for worker in workers:
        try:
            worker.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _tell(worker: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # the worker has just ended; Windows has few signals
        worker.send_signal(number)


def _outcome(failed: Mapping[int, int]) -> int:
    """Report killed processes; return the exit status.

    Args:
        failed: exit codes of the processes that failed first, by rank; a negative code is a signal.
    """
    killed = sorted(number for number, code in failed.items() if code < 0)
    if killed:
        by = -failed[killed[0]]
        perhaps = ", perhaps because memory ran out" if by == signal.SIGKILL else ""
        name = signal.Signals(by).name if by in set(signal.Signals) else f"signal {by}"
        named = f"process {killed[0]} was" if len(killed) == 1 else f"processes {', '.join(map(str, killed))} were"
        put(f"Error: {named} ended by {name}{perhaps}: continue with --resume\n", sys.stderr)
    return 1 if killed or 1 in failed.values() else max(failed.values(), default=0)
