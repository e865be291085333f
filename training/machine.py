"""What of a machine decides how numbers are rounded, and what a resumed run says of it."""

import os
from typing import Any, Protocol

import torch

from custom_ops import build
from system.text import printable
from torch_utils.cli import counted

INEXACT = "it will not be the same to the last bit"


class Before(Protocol):
    """What a state says of the machine that it was saved on."""

    operators: str
    torch: str
    processor: str | None


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, and on a CPU how many threads add numbers up: a sum depends on where it is cut."""
    if device.type == "cuda":
        return {"processor": f"a {torch.cuda.get_device_name(device)}"}
    if device.type != "cpu":
        return {"processor": device.type}
    return {"processor": f"a CPU with {torch.backends.cpu.get_cpu_capability()}", "threads": torch.get_num_threads()}


def keep_threads(before: int | None, device: torch.device) -> list[str]:
    """Makes PyTorch compute with as many threads as a run on a CPU began with, unless OMP_NUM_THREADS says otherwise.

    Returns what to say about it, in no sentence or one.
    """
    now = torch.get_num_threads()
    if before is None or device.type != "cpu" or before == now:
        return []
    if "OMP_NUM_THREADS" in os.environ:
        return [f"this run had {counted(before, 'thread')} and goes on with {now}, as OMP_NUM_THREADS says: {INEXACT}"]
    torch.set_num_threads(before)
    return [
        f"this run goes on with {counted(before, 'thread')}, as it began, which keeps every bit; "
        f"OMP_NUM_THREADS={now} uses all {now} of this machine, which does not"
    ]


def rounds_otherwise(before: Before, device: torch.device) -> list[str]:
    """A sentence for each cause for which this machine rounds otherwise than the one the state was saved on."""
    processor = machine(device)["processor"]
    causes = [
        (f"{before.operators} operators", before.operators, build.implementation(device)),
        (f"PyTorch {before.torch}", before.torch, torch.__version__),
        (f"{before.processor}", before.processor or processor, processor),
    ]
    return [
        f"this run had {printable(words, 100)} and goes on with {new}: {INEXACT}"
        for words, old, new in causes
        if old != new
    ]
