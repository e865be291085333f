"""Where to compute, in which number format, and how much memory that takes."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_reserved = False  # whether this process has set it in time

# Parameters of mallopt, as malloc.h of the GNU C library numbers them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `mps` -> a device that is there.

    Raises:
        ValueError: when the one asked for is not.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device in present if present[device])
    if not present[name]:
        why = "is a build without it" if name == "cuda" and torch.version.cuda is None else "finds none here"
        raise ValueError(f"--device {name}: this PyTorch ({torch.__version__}) {why}; choose --device auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device, training: bool = False) -> Precision:
    """`auto` -> bf16 or else fp16 to train on CUDA, fp32 otherwise; any other name is checked against the device.

    Pictures are made in fp32 unless asked otherwise, so that a published seed gives its published picture.

    Raises:
        ValueError: for a format that the device cannot compute in, or only uselessly slowly.
    """
    if name == "auto":
        if not training or device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise ValueError("--precision fp16: a CPU computes float16 hundreds of times slower than float32; take bf16")
    if name == "tf32" and device.type != "cuda":
        raise ValueError(f"--precision tf32: only CUDA devices know it, and this is {device.type}; take fp32 or bf16")
    for known in ("fp32", "tf32", "bf16", "fp16"):
        if name == known:
            return known
    raise ValueError(f"--precision {name}: it is one of auto, fp32, tf32, bf16, fp16")


def slow_precision(precision: Precision, device: torch.device) -> str:
    """A sentence for a format that this device computes in, but no faster than in fp32; empty for any other."""
    if precision != "bf16" or device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return ""
    # oneDNN's own word, which PyTorch's convolutions go by: without it ours are computed in float32 and rounded.
    if getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)():
        return ""
    return (
        "--precision bf16: this processor has no instructions for it (AVX-512), "
        "and convolutions take as long as in fp32"
    )


def set_precision(precision: Precision, deterministic: bool = False, trial: bool = True) -> None:
    """Set PyTorch's own switches for the whole process, as only a script may. A library uses `switches`.

    Args:
        precision: TF32 is allowed for "tf32" alone.
        deterministic: only algorithms that give the same bits each time. An operation without one raises RuntimeError.
        trial: cuDNN finds the fastest algorithms by trying them. Ignored with `deterministic`.

    Raises:
        ValueError: as `reserve_workspace` does.
    """
    _allow_tf32(precision == "tf32")
    torch.backends.cudnn.benchmark = trial and not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        reserve_workspace()
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # ours are written


@contextlib.contextmanager
def switches(precision: Precision, deterministic: bool = False, trial: bool = True) -> Iterator[None]:
    """Within the block PyTorch's switches are as `set_precision` sets them. Then they are as before.

    For a program that computes in TF32 with a network of `load_network`, which leaves the switches alone:

        with switches("tf32"):
            images = G(z)
    """
    tf32, variable = _tf32(), os.environ.get(_WORKSPACE)
    benchmark, reproducible = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        set_precision(precision, deterministic, trial)
        yield
    finally:
        _restore_tf32(tf32)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, reproducible
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        if variable is None:
            os.environ.pop(_WORKSPACE, None)


def reserve_workspace() -> None:
    """Make cuBLAS deterministic, by its variable in the environment. cuBLAS looks there once, when it is first used.

    Raises:
        ValueError: when the variable is not set and CUDA memory has been used, so that it may be too late.
    """
    global _reserved
    if _WORKSPACE not in os.environ and not _reserved and _has_used_cuda():
        raise ValueError(
            f"deterministic algorithms were asked for after the GPU was used, and cuBLAS may not notice: set "
            f"{_WORKSPACE}=:4096:8 in the environment before the program starts"
        )
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    _reserved = True


def _has_used_cuda() -> bool:
    # PyTorch takes memory for cuBLAS from its own allocator: where nothing was ever allocated, cuBLAS was not used.
    return torch.cuda.is_initialized() and any(
        torch.cuda.memory_stats(device).get("allocation.all.allocated", 0)
        for device in range(torch.cuda.device_count())
    )


class _Tf32(NamedTuple):
    """PyTorch's switches for TF32. Reading an old one raises once a program has set the new ones otherwise."""

    old: tuple[bool, bool] | None  # matmul, cudnn; None where the program uses the new ones
    new: tuple[str, ...]  # of _backends()


def _backends() -> tuple[Any, ...]:
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn  # type: ignore[attr-defined]


def _tf32() -> _Tf32:
    try:
        old = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.get_float32_matmul_precision()
    except RuntimeError:
        old = None
    return _Tf32(old, tuple(backend.fp32_precision for backend in _backends()))


def _allow_tf32(allowed: bool) -> None:
    if _tf32().old is None:
        for backend in _backends():
            backend.fp32_precision = "tf32" if allowed else "ieee"
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def _restore_tf32(before: _Tf32) -> None:
    if before.old is not None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before.old
    for backend, precision in zip(_backends(), before.new, strict=True):
        if backend.fp32_precision != precision:
            backend.fp32_precision = precision


def keep_freed_memory() -> None:
    """Makes this process keep the memory it frees, for its next tensors of the same size.

    The C library of Linux hands large blocks back to the system at once and gets each anew, zeroed page by page, which
    costs a training step on a CPU a tenth of its time. Elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda parameter, size: 0)
    # Older libraries take no threshold above 32 MiB and refuse the first.
    if mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_THRESHOLD, 2**25):
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: of the device on CUDA, of this process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # which Windows does not have

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def available_memory(device: torch.device) -> int:
    """Bytes that are free: of the device on CUDA, elsewhere of the system, or of what this process may have of it.

    Raises:
        ValueError: when the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if Path("/proc/meminfo").exists():
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        groups = _control_groups(Path("/proc/self/cgroup").read_text()) if Path("/proc/self/cgroup").exists() else []
        return max(min([free, *_left_to_container(Path("/sys/fs/cgroup"), groups)]), 0)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS tells only how much there is
    raise ValueError("this system does not tell how much memory is free")


class _Group(NamedTuple):
    """A control group that limits the memory of this process, and what its version calls the limit and its use."""

    path: str  # below the folder of all groups
    limit: str
    used: str
    files: str  # in memory.stat: files in memory that the system forgets when memory is asked for


def _control_groups(text: str) -> list[_Group]:
    """The groups of /proc/self/cgroup, a line `NUMBER:CONTROLLERS:PATH` each: version 2 has the number 0."""
    groups = []
    for line in text.splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        path = path.strip("/")
        if number == "0":
            groups += [
                _Group(f"{mount}{path}", "memory.max", "memory.current", "inactive_file") for mount in ("", "unified/")
            ]
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            groups.append(_Group(f"{controllers}/{path}", *names))
    return groups


def _left_to_container(root: Path, groups: Sequence[_Group]) -> list[int]:
    """What the limits of the process's control groups and of the groups above them leave."""
    left = []
    for group in groups:
        folder = root / group.path
        for place in [folder, *folder.parents]:
            with contextlib.suppress(OSError, ValueError, KeyError):  # "max" is no number
                most = int((place / group.limit).read_text())
                rows = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
                left.append(most - int((place / group.used).read_text()) + int(rows[group.files]))
    return left


# What libraries say when memory runs out, in errors of no kind of their own. cuDNN finds no engine where none of its
# algorithms can have the workspace that it needs.
_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "cudaerrormemoryallocation"),
    *("_status_alloc_failed", "_allocation_failed", "cufft_alloc_failed"),
    "unable to find an engine to execute this computation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _NO_MEMORY)


def is_library_error(error: BaseException) -> bool:
    """Whether an exception is one of cuDNN or cuBLAS, which say little where memory is short for their own handles."""
    return isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("cudnn", "cublas"))
