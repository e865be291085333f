"""The compute device, its number formats and its memory."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from system import private

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_reserved = False  # whether this process has set it in time

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt, from malloc.h of glibc


def resolve_device(name: str) -> torch.device:
    """Return the device of `--device`: "auto", "cpu", "cuda" or "mps". Raises ValueError if it is missing."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device in present if present[device])
    if not present[name]:
        why = "is built without CUDA" if name == "cuda" and torch.version.cuda is None else "finds no such device"
        raise ValueError(f"--device {name}: this PyTorch ({torch.__version__}) {why}; choose --device auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device, training: bool = False) -> Precision:
    """Return the number format of `--precision`. Raises ValueError if the device lacks it, or is far too slow in it.

    "auto" is bf16 (fp16 on older GPUs) for training on CUDA, otherwise fp32, for the published pictures of seeds.
    """
    if name == "auto":
        if not training or device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise ValueError("--precision fp16: on a CPU, float16 is hundreds of times slower than float32; choose bf16")
    if name == "tf32" and device.type != "cuda":
        raise ValueError(f"--precision tf32 needs a CUDA device, and this is {device.type}; choose fp32 or bf16")
    for known in ("fp32", "tf32", "bf16", "fp16"):
        if name == known:
            return known
    raise ValueError(f"--precision {name}: expected auto, fp32, tf32, bf16 or fp16")


def slow_precision(precision: Precision, device: torch.device) -> str:
    """Return a warning if the device supports a format but is no faster with it than with fp32; otherwise ""."""
    lacking = device.type == "cpu" and torch.backends.mkldnn.is_available() and not private.cpu_has_bfloat16()
    slow = "--precision bf16: this processor has no instructions for it (AVX-512), and is no faster than in fp32"
    return slow if precision == "bf16" and lacking else ""


def set_precision(precision: Precision, deterministic: bool = False, trial: bool = True) -> None:
    """Set PyTorch's global switches. For scripts; library code uses `switches`.

    Only "tf32" allows TF32. `deterministic` allows only algorithms that give the same bits each time, and raises as
    `reserve_workspace`; otherwise `trial` lets cuDNN find the fastest algorithms by trying them.
    """
    if _old_tf32() is None:
        for backend in _backends():
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = trial and not deterministic
    torch.backends.cudnn.deterministic = deterministic
    _use_deterministic(deterministic)
    if deterministic:
        reserve_workspace()
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # not needed here


@contextlib.contextmanager
def switches(precision: Precision, deterministic: bool = False, trial: bool = True) -> Iterator[None]:
    """Set PyTorch's global switches within the block, as `set_precision`, and restore them afterwards.

    `with switches("tf32"): images = network(z)` computes in TF32 with a network of `load_network`.
    """
    old, new, variable = _old_tf32(), [(b, b.fp32_precision) for b in _backends()], os.environ.get(_WORKSPACE)
    owners: Any = [(torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "deterministic")]
    owners.append((torch.utils.deterministic, "fill_uninitialized_memory"))
    kept = [(owner, name, getattr(owner, name)) for owner, name in owners]
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        set_precision(precision, deterministic, trial)
        yield
    finally:
        if old is not None:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = old
        kept += [(backend, "fp32_precision", value) for backend, value in new if backend.fp32_precision != value]
        for owner, name, value in kept:
            setattr(owner, name, value)
        _use_deterministic(enabled, warns)
        if variable is None:
            os.environ.pop(_WORKSPACE, None)


def reserve_workspace() -> None:
    """Make cuBLAS deterministic by an environment variable, which cuBLAS reads when it is first used.

    Raises ValueError if it is not set and PyTorch has allocated CUDA memory, so that cuBLAS may have been used.
    """
    global _reserved
    if _WORKSPACE not in os.environ and not _reserved and torch.cuda.is_initialized():
        statistics = map(torch.cuda.memory_stats, range(torch.cuda.device_count()))
        if any(of_device.get("allocation.all.allocated", 0) for of_device in statistics):
            raise ValueError(
                f"--deterministic comes too late: the GPU has been used, and cuBLAS reads its settings only once; set "
                f"{_WORKSPACE}=:4096:8 in the environment before the program starts"
            )
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    _reserved = True


def _use_deterministic(wanted: bool, warns: bool = False) -> None:
    """Allow only deterministic algorithms, or all. PyTorch's function imports its compiler, which takes two seconds."""
    if (wanted, warns) != (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ):
        torch.use_deterministic_algorithms(wanted, warn_only=warns)


def _backends() -> tuple[Any, ...]:
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn  # type: ignore[attr-defined]


def _old_tf32() -> tuple[bool, bool] | None:
    """Return PyTorch's old TF32 switches; None if the program uses the new ones, where reading the old ones raises."""
    try:
        torch.get_float32_matmul_precision()
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def keep_freed_memory() -> None:
    """Make this process reuse freed memory: glibc gets it anew and zeroed, a tenth of a training step on a CPU."""
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda parameter, size: 0)  # other libraries than glibc lack it
        if mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_THRESHOLD, 2**25):  # older versions allow 32 MiB
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            mallopt(_M_TOP_PAD, 2**26)


def peak_memory(device: torch.device) -> int:
    """Return the largest memory in use so far, in bytes: of the device on CUDA, otherwise of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # missing on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available_memory(device: torch.device) -> int:
    """Return the free bytes of the device on CUDA, otherwise of the system or container. ValueError if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        return int(max(min(free, _left_to_container(Path("/sys/fs/cgroup"))), 0))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS reports only the total
    raise ValueError("this system does not report how much memory is free")


def _left_to_container(group: Path) -> float:
    """Return the bytes left by the limit of a container's control group (version 2); infinity without a limit."""
    try:
        most, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        rows = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
        return most - used + int(rows["inactive_file"])
    except (OSError, ValueError, KeyError):  # "max" is not a number
        return math.inf


# Words in the errors of libraries when memory runs out. cuDNN finds no engine if no algorithm gets its workspace.
_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "cudaerrormemoryallocation"),
    *("_status_alloc_failed", "_allocation_failed", "cufft_alloc_failed"),
    "unable to find an engine to execute this computation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)
