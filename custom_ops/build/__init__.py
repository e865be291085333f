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
        recipe = toolchain.RECIPES[device_type]()
        if recipe is None:
            return False
        cache.obtain(recipe, cache.roots())
        return True
    except UnavailableError as error:
        _shortfalls[device_type] = str(error)
    except Exception as error:  # never a reason not to start
        _shortfalls[device_type] = f"they could not be made ready ({type(error).__name__}: {error})"
    if len(_shortfalls) == 1:
        _warn(device_type, _shortfalls[device_type])
    return False


def _warn(device_type: str, why: str) -> None:
    logging.getLogger("custom_ops").warning(
        f"native {device_type.upper()} operators are off, which makes training and sampling slower "
        f"but changes no result beyond rounding: {why}; or do without them, by CUSTOM_OPS=pytorch in the environment"
    )
