"""The native operators: compiled at first use, cached, loaded once a process. Without them the reference serves on.

`load` never raises. Whatever stands in the way, no compiler, a full disk, a build that was killed, costs speed and one
warning that says how to mend it. CUSTOM_OPS=pytorch in the environment keeps to the reference, silently.

Before they serve on a device, native operators are compared with the reference there (`verdict.py`): once for a library
and a model of device. Where some differ, the reference serves in their place, and one warning says so.
"""

import logging
import os
import threading
from pathlib import Path

import torch

from custom_ops.build import cache, toolchain, verdict
from custom_ops.build.toolchain import UnavailableError

proof: verdict.Proof | None = None  # how to compare; set where all operators are known

_serving: dict[torch.device | str, bool] = {}  # by what was asked for
_libraries: dict[str, Path | None] = {}  # by type of device
_refused: dict[str, dict[str, str]] = {}  # by type of device: groups of operators, and how they differ
_shortfalls: dict[str, str] = {}
_loading = threading.Lock()


def load(device: torch.device | str) -> bool:
    """Whether native operators serve a device, or a type such as "cpu"; compiles, loads, compares them if need be."""
    serves = _serving.get(device)
    return _load_once(device) if serves is None else serves


def implementation(device: torch.device | str) -> str:
    """What serves a device: "native", "pytorch", or "native (except upfirdn2d)" where that was refused."""
    if not load(device):
        return "pytorch"
    refused = _refused.get(torch.device(device).type)
    return f"native (except {', '.join(refused)})" if refused else "native"


def shortfall(device: torch.device | str) -> str:
    """Why no native operators serve a device that they were written for, and what mends it; empty where all serve."""
    load(device)
    return _shortfalls.get(torch.device(device).type, "")


def _load_once(asked: torch.device | str) -> bool:
    device = torch.device(asked)
    with _loading:
        if device.type not in _libraries:
            _libraries[device.type] = _load(device.type)
        library = _libraries[device.type]
        if library is None or proof is None:
            return _serving.setdefault(asked, library is not None)
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return True  # a graph is being captured, and a comparison would be captured with it: next time
        if asked not in _serving:
            _compare(proof, library, device)
            _serving[asked] = len(_refused.get(device.type, ())) < len(proof.references)
        return _serving[asked]


def _load(device_type: str) -> Path | None:
    wanted = os.environ.get("CUSTOM_OPS") or "native"
    if device_type not in toolchain.RECIPES or wanted == "pytorch":
        return None
    try:
        if wanted != "native":
            raise UnavailableError(f"CUSTOM_OPS is {wanted}, which is neither native nor pytorch", "set one of them")
        return _make_ready(device_type)
    except UnavailableError as error:
        why = str(error)
    except Exception as error:  # never a reason not to start
        why = f"they could not be made ready ({type(error).__name__}: {error})"
    if why not in _shortfalls.values():  # warn once if the compiler is missing for several devices
        _warn(device_type, why)
    _shortfalls[device_type] = why
    return None


def _make_ready(device_type: str) -> Path | None:
    """Loads the library, or builds it. Where it cannot be built, one that was built with another compiler serves."""
    target = toolchain.TARGETS[device_type]()
    if target is None:
        return None
    try:
        return cache.obtain(toolchain.RECIPES[device_type](target), cache.roots())
    except UnavailableError:
        library = cache.borrow(target, cache.roots())
        if library is None:
            raise
        return library


def _compare(proof: verdict.Proof, library: Path, device: torch.device) -> None:
    """Refuses the operators that differ from their reference on this device."""
    log = logging.getLogger("custom_ops")
    try:
        found = verdict.reach(proof, library, device)
        refused = _refused.setdefault(device.type, {})
        for group in found.keys() - refused.keys():
            verdict.overrule(proof, group, device.type)
        new = {group: why for group, why in found.items() if group not in refused}
        refused |= new
    except Exception as error:  # never a reason not to start
        log.warning(
            f"native {device.type.upper()} operators could not be compared with plain PyTorch "
            f"({type(error).__name__}: {error}) and serve all the same"
        )
        return
    if new:
        differ = "; ".join(f"{group} ({why})" for group, why in refused.items())
        why = (
            f"on {verdict.model(device)} these differ from plain PyTorch, which serves in their place: {differ}: "
            f"report it with the output of python -m custom_ops.build"
        )
        _shortfalls[device.type] = why
        log.warning(f"native {device.type.upper()} operators are refused, which makes training slower: {why}")


def _warn(device_type: str, why: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # a machine says it once
    logging.getLogger("custom_ops").warning(
        f"native {device_type.upper()} operators are off, which makes training and sampling slower "
        f"but changes no result beyond rounding: {why}; or do without them, by CUSTOM_OPS=pytorch in the environment"
    )
