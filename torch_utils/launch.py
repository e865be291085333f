"""Several processes from one command, by PyTorch's own launcher, and their end told in a sentence."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_utils import notices
from torch_utils.device import resolve_device

# Seconds that processes have to save when they are told to stop, before they are killed.
GRACE = 60
_MARK = "LAUNCHED_PROCESSES"  # tells a process that `start` has started it


def check(processes: int, device: str) -> None:
    """Raises ValueError unless this machine can give each of the processes a device of its own.

    Args:
        processes: how many.
        device: as in `resolve_device`. A CPU is shared by any number of processes, but only when asked for by name.
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
    """Whether `start` has started this process, and tells how it ended."""
    return _MARK in os.environ


def start(processes: int, program: Sequence[str]) -> int:
    """Runs a Python program in so many processes, as `torchrun --standalone` does, and waits for their end.

    Says which of them was killed, if one was; any other error they have told themselves.

    Returns:
        The exit status: 0, that of the first error, or 128 and the number of the signal that stopped them.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # the launcher's own account of a failure fills a screen
    os.environ[_MARK] = str(processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(_cores() // processes, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=GRACE,
    )
    try:
        elastic_launch(config, sys.executable)(*program)
    except ChildFailedError as error:
        return _outcome(error.failures)
    except SignalException as stop:
        return 128 + stop.sigval
    return 0


def _outcome(failures: Mapping[int, Any]) -> int:
    """Tells of killed processes; returns the exit status."""
    codes = {number: failure.exitcode for number, failure in failures.items()}
    killed = {number: -code for number, code in codes.items() if code < 0}
    for number, by in sorted(killed.items()):
        perhaps = ", perhaps for want of memory" if by == signal.SIGKILL else ""
        name = signal.Signals(by).name
        print(f"Error: process {number} was ended by {name}{perhaps}: go on with --resume", file=sys.stderr)
    return 1 if killed or 1 in codes.values() else max(codes.values(), default=1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
