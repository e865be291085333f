"""The native operators: compiled at first use, cached, loaded once a process. Without them the reference serves on.

`load` never raises. Whatever stands in the way, no compiler, a full disk, a build that was killed, costs speed and one
warning that says how to mend it. CUSTOM_OPS=pytorch in the environment keeps to the reference, silently.
"""

import logging
import os
import threading

import torch

from custom_ops.build import cache, toolchain
from custom_ops.build.toolchain import UnavailableError

_serving: dict[str, bool] = {}
_shortfalls: dict[str, str] = {}
_loading = threading.Lock()


def load(device_type: str) -> bool:
    """Whether native operators serve a type of device, such as "cpu"; compiles and loads them where need be."""
    serves = _serving.get(device_type)
    return _load_once(device_type) if serves is None else serves


def implementation(device: torch.device | str) -> str:
    """What serves a device: "native" or "pytorch"."""
    return "native" if load(torch.device(device).type) else "pytorch"


def shortfall(device: torch.device | str) -> str:
    """Why no native operators serve a device that they were written for, and what mends it; empty where they do."""
    load(torch.device(device).type)
    return _shortfalls.get(torch.device(device).type, "")


def _load_once(device_type: str) -> bool:
    with _loading:
        if device_type not in _serving:
            _serving[device_type] = _load(device_type)
        return _serving[device_type]


def _load(device_type: str) -> bool:
    wanted = os.environ.get("CUSTOM_OPS") or "native"
    if device_type not in toolchain.RECIPES or wanted == "pytorch":
        return False
    try:
        if wanted != "native":
            raise UnavailableError(f"CUSTOM_OPS is {wanted}, which is neither native nor pytorch", "set one of them")
        return _make_ready(device_type)
    except UnavailableError as error:
        why = str(error)
    except Exception as error:  # never a reason not to start
        why = f"they could not be made ready ({type(error).__name__}: {error})"
    if why not in _shortfalls.values():  # a compiler that is missed for all devices is spoken of once
        _warn(device_type, why)
    _shortfalls[device_type] = why
    return False


def _make_ready(device_type: str) -> bool:
    """Loads the library, or builds it. Where it cannot be built, one that was built with another compiler serves."""
    target = toolchain.TARGETS[device_type]()
    if target is None:
        return False
    try:
        cache.obtain(toolchain.RECIPES[device_type](target), cache.roots())
    except UnavailableError:
        if cache.borrow(target, cache.roots()) is None:
            raise
    return True


def _warn(device_type: str, why: str) -> None:
    logging.getLogger("custom_ops").warning(
        f"native {device_type.upper()} operators are off, which makes training and sampling slower "
        f"but changes no result beyond rounding: {why}; or do without them, by CUSTOM_OPS=pytorch in the environment"
    )
