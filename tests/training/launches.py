"""train.py in several processes, as torchrun starts them, but forked: nothing is imported anew.

The agent that starts, watches and restarts them is PyTorch's own, in a process of its own.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import train
from tests.training.runs import TINY
from training import run as loop


@dataclass(frozen=True)
class Accident:
    """Process `number` meets `what` before iteration `at`, at the first attempt."""

    what: str  # the name of a signal, "silence", or the text of an error
    number: int = 1
    at: int = 3


@dataclass(frozen=True)
class Ended:
    """How a launch ended: the exit code of each failed process, and what all of them wrote."""

    codes: dict[int, int]
    output: str


def launch(
    processes: int,
    logs: Path,
    *arguments: str,
    accident: Accident | None = None,
    restarts: int = 0,
    own: Mapping[int, Sequence[str]] | None = None,
    base: Mapping[str, object] = TINY,
    **settings: object,
) -> Ended:
    """Trains a tiny run in so many processes; `logs` is for what they write. `own` are arguments of single ones."""
    given = {**base, "metrics": "none"} | {name.replace("__", "."): value for name, value in settings.items()}
    sets = [f"--set={name}={value}" for name, value in given.items()]
    fork, queue = multiprocessing.get_context("fork"), multiprocessing.get_context("fork").SimpleQueue()
    agent = fork.Process(
        target=_agent, args=(queue, processes, logs, [*arguments, *sets], accident, restarts, own or {})
    )
    agent.start()
    agent.join(120)
    assert agent.exitcode == 0, "the launch has not ended"
    output = "".join(file.read_text() for file in sorted(logs.rglob("*.log")))
    return Ended(queue.get(), output)


def _agent(
    queue,
    processes: int,
    logs: Path,
    arguments: Sequence[str],
    accident: Accident | None,
    restarts: int,
    own: Mapping[int, Sequence[str]],
) -> None:
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # what is redirected now are the process's own
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=restarts,
        start_method="fork",
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=Std.ALL),
    )
    try:
        elastic_launch(config, _process)(arguments, accident, own)
        queue.put({})
    except ChildFailedError as error:
        queue.put({number: failure.exitcode for number, failure in error.failures.items()})


def _process(arguments: Sequence[str], accident: Accident | None, own: Mapping[int, Sequence[str]]) -> None:
    torch.set_num_threads(1)
    honest = loop.step

    def step(recipe, batches, run, pace):
        here = accident is not None and (int(os.environ["RANK"]), run.clock.iteration) == (accident.number, accident.at)
        if accident is not None and here and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            _meet(accident.what)
        honest(recipe, batches, run, pace)

    with patch.object(loop, "step", step):
        train.main([*arguments, *own.get(int(os.environ["RANK"]), [])], prog_name="train.py")


def _meet(what: str) -> None:
    if what.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[what])
        return
    if what == "silence":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(100)
    kind, _, text = what.partition(": ")
    raise {"ValueError": ValueError, "KeyError": KeyError}[kind](text)
