"""The native operators: compiled at first use, cached, loaded once per process, and compared with plain PyTorch.

Without a compiler, or if an operator differs from plain PyTorch, plain PyTorch computes instead, and one warning says
why and what to do. CUSTOM_OPS=pytorch in the environment turns the native operators off without a warning.
"""

import logging
import os
import platform
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.library import Library

from custom_ops.build import library

proof: Any = None  # the module custom_ops.proof: set by the package, as operators import this module

_serving: dict[torch.device | str, bool] = {}  # by device, or type of device
_shortfalls: dict[str, str] = {}  # by type of device
_loading = threading.Lock()
_overriding: list[Library] = []  # an implementation is in force as long as its library lives


def load(device: torch.device | str) -> bool:
    """Whether native operators serve a device, or a type such as "cpu". Compiles and loads them; never raises."""
    serves = _serving.get(device)
    if serves is not None:
        return serves
    with _loading:
        asked = torch.device(device)
        if asked.type not in _serving and not _load(asked.type):
            _serving[asked.type] = False
        if asked.type not in _serving:
            if asked.type == "cuda" and torch.cuda.is_current_stream_capturing():
                return True  # the comparison would be captured in the graph: compare next time
            _serving[asked.type] = _agree(asked)
        return _serving.setdefault(device, _serving[asked.type])


def implementation(device: torch.device | str) -> str:
    """What serves a device: "native" or "pytorch"."""
    return "native" if load(device) else "pytorch"


def shortfall(device: torch.device | str) -> str:
    """Why native operators do not serve a device, and what to do about it. Empty if they do, or none exist for it."""
    load(device)
    return _shortfalls.get(torch.device(device).type, "")


def compare(device: torch.device) -> str:
    """How native operators differ from plain PyTorch on a device. Empty if they agree.

    Runs in a thread of its own, without the caller's modes, gradients and streams, and on one core: on a busy machine,
    sharing small tensors among threads takes seconds. Raises any exception if they cannot be compared.
    """

    def run() -> str:
        count = torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, and of those that start meanwhile
        try:
            return proof.difference(device)
        finally:
            torch.set_num_threads(count)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def model(device: torch.device) -> str:
    """The name of a GPU, such as "NVIDIA H200", or of the processor's architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _load(kind: str) -> bool:
    wanted = os.environ.get("CUSTOM_OPS") or "native"
    if wanted == "pytorch" or not library.exist_for(kind):
        return False
    try:
        if wanted != "native":
            raise ValueError(f"CUSTOM_OPS is {wanted}, expected native or pytorch")
        return bool(library.obtain(kind))
    except (library.UnavailableError, ValueError) as error:
        why = str(error)
    except Exception as error:  # a program starts whatever happens
        why = f"they could not be made ready ({type(error).__name__}: {error})"
    if why not in _shortfalls.values() and os.environ.get("LOCAL_RANK", "0") == "0":  # one warning per machine
        more = "which makes training and sampling slower but changes no result beyond rounding"
        _warn(kind, f"are off, {more}: {why}; or turn them off with CUSTOM_OPS=pytorch in the environment")
    _shortfalls[kind] = why
    return False


def _agree(device: torch.device) -> bool:
    """Compare native operators with plain PyTorch, and let plain PyTorch replace them if they differ."""
    try:
        why = compare(device)
    except Exception as error:  # a program starts whatever happens
        why, failure = "", f"{type(error).__name__}: {error}"
        _warn(device.type, f"could not be compared with plain PyTorch ({failure}) and are used all the same")
    if not why:
        return True
    overriding = Library("custom_ops", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*[Oo]verrid")  # on purpose
        for operator, reference in proof.REFERENCES.items():
            overriding.impl(operator, reference, device.type.upper(), allow_override=True)
    _overriding.append(overriding)
    _shortfalls[device.type] = (
        f"on {model(device)} they differ from plain PyTorch, which replaces them ({why}): "
        f"report it with the output of python -m custom_ops.build"
    )
    _warn(device.type, f"are refused, which makes training slower: {_shortfalls[device.type]}")
    return False


def _warn(kind: str, text: str) -> None:
    logging.getLogger("custom_ops").warning(f"native {kind.upper()} operators {text}")
