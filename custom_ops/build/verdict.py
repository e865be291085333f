"""What a comparison of compiled operators with plain PyTorch came to: made once for a library and a model of device.

The verdict is kept beside the library, as DIGEST-MODEL.json. Without a place to keep it, each process compares anew.
"""

import json
import platform
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.library import Library

from system.files import replacing
from system.text import printable

NAMESPACE = "custom_ops"
MOST_BYTES = 1 << 16  # of a file that holds a verdict

_overriding: list[Library] = []  # implementations are in force as long as their library lives


@dataclass(frozen=True)
class Proof:
    """How operators are compared, and what serves in the place of those that differ."""

    differences: Callable[[torch.device], Mapping[str, str]]  # by the name of a group of operators: what differs
    references: Mapping[str, Mapping[str, Callable[..., Any]]]  # the operators of each group
    version: str  # verdicts of another version do not count


def reach(proof: Proof, library: Path, device: torch.device) -> dict[str, str]:
    """What differs on a device, by group of operators: read where it is known, else found out and kept.

    Raises:
        Exception: of any kind, when it cannot be found out.
    """
    file = library.with_name(f"{library.stem}-{re.sub('[^A-Za-z0-9]+', '-', model(device))[:80]}.json")
    known = _read(file, proof)
    if known is None:
        known = dict(_elsewhere(lambda: proof.differences(device)))
        with suppress(OSError), replacing(file) as temporary:
            temporary.write_text(json.dumps({"version": proof.version, "differences": known}), encoding="utf-8")
    return known


def model(device: torch.device) -> str:
    """What a device is, such as "NVIDIA H200", or the name of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if match := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return match[1].strip()
    return platform.processor() or platform.machine()


def overrule(proof: Proof, group: str, device_type: str) -> None:
    """Lets the reference serve a type of device in the place of a group of native operators, in this process."""
    library = Library(NAMESPACE, "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*[Oo]verrid")  # it is what is wanted
        for operator, reference in proof.references[group].items():
            library.impl(operator, reference, device_type.upper(), allow_override=True)
    _overriding.append(library)


def _read(file: Path, proof: Proof) -> dict[str, str] | None:
    try:
        with file.open("rb") as stream:
            record = json.loads(stream.read(MOST_BYTES))
        if record["version"] != proof.version or not set(record["differences"]) <= set(proof.references):
            return None
        return {group: printable(str(why)) for group, why in record["differences"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _elsewhere(compare: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """The result of a call in a thread of its own: without the modes, gradients and streams of the one that asks.

    It computes alone: on a busy machine threads that help with small tensors take seconds for what takes milliseconds.
    """
    found: list[Mapping[str, str]] = []
    errors: list[Exception] = []

    def run() -> None:
        count = torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, and of those that begin meanwhile
        try:
            found.append(compare())
        except Exception as error:
            errors.append(error)
        finally:
            torch.set_num_threads(count)

    thread = threading.Thread(target=run, name="custom_ops proof", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]
