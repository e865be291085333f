"""Reasons why a resumed run rounds numbers differently than before, as sentences for the log."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from custom_ops import build
from system.text import printable
from torch_utils.cli import counted
from torch_utils.config import flag_of, spell
from training.config import RunConfig

INEXACT = "it will not be the same to the last bit"
ROUNDING = {"compile", "cuda_graphs", "deterministic"}  # settings that decide how numbers are rounded, at most


class Before(Protocol):
    """The machine on which a state was saved."""

    operators: str
    torch: str
    processor: str | None
    threads: int | None


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, and on a CPU its number of threads, which decides the order of sums."""
    if device.type == "cuda":
        return {"processor": f"a {torch.cuda.get_device_name(device)}"}
    if device.type != "cpu":
        return {"processor": device.type}
    return {"processor": f"a CPU with {torch.backends.cpu.get_cpu_capability()}", "threads": torch.get_num_threads()}


def rounding_notes(
    before: Before, old: Mapping[str, Any], new: Mapping[str, Any], device: torch.device, model: type[RunConfig]
) -> list[str]:
    """A sentence for each reason; also restores the number of threads of a run on a CPU, unless the user chose it.

    Args:
        before: the machine of the state.
        old, new: settings by dotted name, of the state and of the resumed run.
        device: that trains.
        model: the class of the configuration.
    """
    if device.type == "cpu" and before.threads and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(before.threads)
    now = machine(device)
    threads = now.get("threads", before.threads)
    changes = [
        (f"{flag_of(model, name)} {spell(old[name])}", spell(old[name]), spell(new[name]))
        for name in sorted(ROUNDING)
        if old[name] != new[name] and (name != "deterministic" or device.type == "cuda")  # other devices always are
    ]
    changes += [
        (f"{before.operators} operators", before.operators, build.implementation(device)),
        (f"PyTorch {before.torch}", before.torch, torch.__version__),
        (f"{before.processor}", before.processor or now["processor"], now["processor"]),
        (counted(before.threads or 0, "thread"), str(before.threads or threads), str(threads)),
    ]
    had = ((printable(words, 100), new) for words, old, new in changes if old != new)
    return [f"this run had {words} and continues with {new}: {INEXACT}" for words, new in had]
