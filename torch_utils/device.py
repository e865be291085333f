"""Where to compute, in which number format, and how much memory that takes."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

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


def set_precision(precision: Precision, deterministic: bool = False) -> None:
    """Sets PyTorch's own switches: TF32 only where it was asked for, and which algorithms may serve.

    Usually cuDNN finds out the fastest by trial. With `deterministic` it is confined to those that give the same bits
    each time, and so is everything else: an operation that has none raises RuntimeError. To be called before anything
    is computed on a CUDA device, for cuBLAS looks at its environment only once.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # ours are written


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
        own = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()
        free = int(lines["MemAvailable"].split()[0]) * 1024
        return max(min([free, *_left_to_container(Path("/sys/fs/cgroup"), own)]), 0)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS tells only how much there is
    raise ValueError("this system does not tell how much memory is free")


def _left_to_container(root: Path, own: str) -> list[int]:
    """What the limits of the process's control group (version 2) and of the groups above it leave."""
    group, left = root / own.lstrip("/"), []
    for folder in [group, *group.parents]:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most = int((folder / "memory.max").read_text())
            rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            files = int(rows["inactive_file"])  # which the system forgets when memory is asked for
            left.append(most - int((folder / "memory.current").read_text()) + files)
    return left


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)
