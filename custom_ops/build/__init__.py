"""The native operators: compiled at first use, cached, and loaded once per process.

`load` never raises. Without a compiler or with a full disk, plain PyTorch computes instead, and one warning says why
and what to do. CUSTOM_OPS=pytorch in the environment turns the native operators off without a warning.

Before native operators are used on a device, they are compared with plain PyTorch there. PyTorch replaces those that
differ, and one warning says so.
"""

import logging
import os
import platform
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.library import Library

from custom_ops.build import library, toolchain
from custom_ops.build.toolchain import UnavailableError


class Proof(NamedTuple):
    """How native operators are compared, and what replaces those that differ."""

    differences: Callable[[torch.device], Mapping[str, str]]  # by group of operators: what differs
    references: Mapping[str, Mapping[str, Callable[..., Any]]]  # by group: the plain PyTorch of every operator


proof: Proof | None = None  # set by the package, which knows all operators

_serving: dict[torch.device | str, bool] = {}  # by what was asked for
_loaded: dict[str, bool] = {}  # by type of device
_refused: dict[str, dict[str, str]] = {}  # by type of device: groups of operators, and how they differ
_shortfalls: dict[str, str] = {}
_loading = threading.Lock()
_overriding: list[Library] = []  # an implementation is in force as long as its library lives


def load(device: torch.device | str) -> bool:
    """Whether native operators serve a device, or a type such as "cpu". Compiles and loads them if necessary."""
    serves = _serving.get(device)
    return _load_once(device) if serves is None else serves


def implementation(device: torch.device | str) -> str:
    """What serves a device: "native", "pytorch", or for instance "native (except upfirdn2d)"."""
    if not load(device):
        return "pytorch"
    refused = _refused.get(torch.device(device).type)
    return f"native (except {', '.join(refused)})" if refused else "native"


def shortfall(device: torch.device | str) -> str:
    """Why native operators do not serve a device, and what to do about it. Empty if all do, or none exist for it."""
    load(device)
    return _shortfalls.get(torch.device(device).type, "")


def compare(device: torch.device) -> Mapping[str, str]:
    """How native operators differ from plain PyTorch on a device, by group.

    Runs in a thread of its own, without the caller's modes, gradients and streams, and on one core: on a busy machine,
    sharing small tensors among threads takes seconds instead of milliseconds.

    Raises:
        Exception: of any kind, if they cannot be compared.
    """
    found: list[Mapping[str, str]] = []
    errors: list[Exception] = []

    def run() -> None:
        count = torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, and of those that start meanwhile
        try:
            found.append(proof.differences(device) if proof else {})
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


def model(device: torch.device) -> str:
    """The name of a GPU, such as "NVIDIA H200", or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if match := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return match[1].strip()
    return platform.processor() or platform.machine()


def _load_once(asked: torch.device | str) -> bool:
    device = torch.device(asked)
    with _loading:
        if device.type not in _loaded:
            _loaded[device.type] = _load(device.type)
        if not _loaded[device.type] or proof is None:
            return _serving.setdefault(asked, _loaded[device.type])
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return True  # the comparison would be captured in the graph: compare next time
        if asked not in _serving:
            _refuse_differing(proof, device)
            _serving[asked] = len(_refused.get(device.type, ())) < len(proof.references)
        return _serving[asked]


def _load(device_type: str) -> bool:
    wanted = os.environ.get("CUSTOM_OPS") or "native"
    if device_type not in toolchain.TARGETS or wanted == "pytorch":
        return False
    try:
        if wanted != "native":
            raise UnavailableError(f"CUSTOM_OPS is {wanted}, which is neither native nor pytorch", "set one of them")
        target = toolchain.TARGETS[device_type]()
        return target is not None and bool(library.obtain(target, list(library.roots())))
    except UnavailableError as error:
        why = str(error)
    except Exception as error:  # a program starts whatever happens
        why = f"they could not be made ready ({type(error).__name__}: {error})"
    if why not in _shortfalls.values() and os.environ.get("LOCAL_RANK", "0") == "0":  # one warning per machine
        logging.getLogger("custom_ops").warning(
            f"native {device_type.upper()} operators are off, which makes training and sampling slower "
            f"but changes no result beyond rounding: {why}; or turn them off with CUSTOM_OPS=pytorch in the environment"
        )
    _shortfalls[device_type] = why
    return False


def _refuse_differing(proof: Proof, device: torch.device) -> None:
    """Let plain PyTorch replace the groups of operators that differ from it on this device."""
    log, refused = logging.getLogger("custom_ops"), _refused.setdefault(device.type, {})
    try:
        new = {group: why for group, why in compare(device).items() if group not in refused}
    except Exception as error:  # a program starts whatever happens
        log.warning(
            f"native {device.type.upper()} operators could not be compared with plain PyTorch "
            f"({type(error).__name__}: {error}) and are used all the same"
        )
        return
    if not new:
        return
    refused |= new
    overriding = Library("custom_ops", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*[Oo]verrid")  # on purpose
        for group in new:
            for operator, reference in proof.references[group].items():
                overriding.impl(operator, reference, device.type.upper(), allow_override=True)
    _overriding.append(overriding)
    differ = "; ".join(f"{group} ({why})" for group, why in refused.items())
    _shortfalls[device.type] = (
        f"on {model(device)} these differ from plain PyTorch, which replaces them: {differ}: "
        f"report it with the output of python -m custom_ops.build"
    )
    log.warning(
        f"native {device.type.upper()} operators are refused, which makes training slower: {_shortfalls[device.type]}"
    )
