"""One process per device, as `torchrun` starts them. In a single process every function here does nothing."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from torch_utils import launch

_alone = False

PATIENCE = 30.0  # minutes that processes wait for one another
# What back ends write, in errors without a type of their own, when a peer is gone or does not answer.
_GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "connection refused", "remote error")
_SILENT = ("timed out", "timeout")


class LostError(RuntimeError):
    """A peer process has ended or does not answer, so this process cannot continue."""


class EndedError(LostError):
    """A peer process died; the launcher reports why."""


def start(device: torch.device | str, patience: float = PATIENCE) -> torch.device:
    """Join the processes that `torchrun` started, and return the device of this one.

    Args:
        device: "cuda": the device of the local rank, over nccl; "cpu": shared by all processes, over gloo. A single
            process takes any device.
        patience: minutes to wait for the other processes.

    Raises:
        ValueError: the machine has too few CUDA devices, or several processes cannot share the device.
    """
    device, backend = torch.device(device), "gloo"
    if not launch.together():
        return device
    if device.type == "cuda":
        local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= present:
            raise ValueError(
                f"torchrun started more processes on this machine than it has CUDA devices ({present}): "
                f"give it --nproc-per-node={present}"
            )
        device, backend = torch.device("cuda", local), "nccl" if dist.is_nccl_available() else "gloo"  # not on Windows
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise ValueError(f"several processes cannot share {device.type}: give --device cpu, or start one process")
    inside = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")] if os.name == "posix" else []
    if inside and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        # All processes are on this machine, whose host name may not resolve.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", inside[0])
    timeout = timedelta(minutes=patience)
    place: dict[str, Any] = {"device_id": device} if backend == "nccl" else {}
    if launch.has_store():
        place |= {"rank": launch.number(), "world_size": int(os.environ["WORLD_SIZE"]), "store": launch.meet(timeout)}
    dist.init_process_group(backend, timeout=timeout, **place)
    return device


def lost(error: BaseException) -> LostError | None:
    """A sentence for an exception that means that a peer is gone or silent; None for other exceptions."""
    if not _grouped() or not isinstance(error, RuntimeError):
        return None
    text = str(error).lower()
    if any(sign in text for sign in _GONE):
        return EndedError("the connection to another process broke because it has ended: this one cannot continue")
    if any(sign in text for sign in _SILENT):
        return LostError("another process has not answered in time: this one cannot continue")
    return LostError(str(error)) if isinstance(error, dist.DistError) else None


def stop() -> None:
    """Leave the process group, if there is one."""
    if _grouped():
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Within the block this process exchanges nothing, as if it were the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def rank() -> int:
    """The number of this process, 0 .. world() - 1."""
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if _grouped() else 1


def neighbors() -> int:
    """The number of processes on this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world())) if _grouped() else 1


def is_first() -> bool:
    """Whether this is rank 0, which writes files and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if _grouped():
        dist.barrier()


def sum_(tensor: torch.Tensor) -> torch.Tensor:
    """Replace `tensor` by its sum over all processes, and return it."""
    if _grouped():
        dist.all_reduce(tensor)
    return tensor


def least(number: int) -> int:
    """The smallest of the processes' numbers."""
    if not _grouped():
        return number
    tensor = torch.tensor(number, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(tensor, dist.ReduceOp.MIN)
    return int(tensor)


def agree(number: int) -> bool:
    """Whether all processes have the same number."""
    return least(number) == -least(-number)


def texts(text: str) -> list[str]:
    """The texts of all processes, by rank."""
    if not _grouped():
        return [text]
    found = [""] * world()
    dist.all_gather_object(found, text)
    return found


def mean(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over all processes, as part of the graph.

    Every process differentiates its own loss and gradients are averaged afterwards, so the gradient of this mean is
    averaged, too.
    """
    return _Mean.apply(tensor) if _grouped() else tensor


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return sum_(tensor.contiguous() / world())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return sum_(gradient.contiguous() / world())


@torch.no_grad()
def broadcast_(tensors: Iterable[torch.Tensor]) -> None:
    """Replace every tensor by the tensor of rank 0."""
    if not _grouped():
        return
    for tensor in tensors:
        data = tensor.detach().contiguous()
        dist.broadcast(data.reshape(-1).view(torch.uint8), 0)  # bytes: back ends know fewer dtypes than torch
        tensor.detach().copy_(data)


def _grouped() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()
