"""One process per device, as `torchrun` starts them. With one process every function here does nothing."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from torch_utils import notices

_alone = False

PATIENCE = 30.0  # minutes that processes wait for one another
# What the back ends say, in errors of no kind of their own, when another process is gone or does not answer.
_GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "connection refused", "remote error")
_SILENT = ("timed out", "timeout")


class LostError(RuntimeError):
    """Another process has ended, or does not answer: this one cannot go on, and is not to blame."""


class EndedError(LostError):
    """Another process has died; the launcher reports why."""


def start(device: torch.device | str, patience: float = PATIENCE) -> torch.device:
    """Joins the processes that `torchrun` started and returns the device of this one.

    On CUDA that is the device of the local rank, over nccl; elsewhere `device` itself, over gloo. Started without
    `torchrun`, or alone, it only returns `device`.

    Args:
        device: its kind.
        patience: minutes that a process waits for the others before it takes them for lost.

    Raises:
        ValueError: when the machine has too few CUDA devices, or its devices cannot work together.
    """
    device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cpu":
        _join("gloo", patience)
        return device
    if device.type != "cuda":
        raise ValueError(f"several processes cannot share {device.type}: give --device cpu, or start one process")
    local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= present:
        raise ValueError(
            f"torchrun started more processes on this machine than it has CUDA devices ({present}): "
            f"give it --nproc-per-node={present}"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    _join("nccl" if dist.is_nccl_available() else "gloo", patience, device)  # Windows has no nccl
    return device


def _join(backend: str, patience: float, device: torch.device | None = None) -> None:
    _stay_inside()
    timeout = timedelta(minutes=patience)
    place: dict[str, Any] = {}
    if notices.outlasting():
        place = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"])}
        place["store"] = notices.meet(timeout)
    dist.init_process_group(backend, timeout=timeout, device_id=device if backend == "nccl" else None, **place)


def lost(error: BaseException) -> LostError | None:
    """The error in words, if an exception says that another process is gone or silent."""
    if not _grouped() or not isinstance(error, RuntimeError):
        return None
    text = str(error).lower()
    if any(sign in text for sign in _GONE):
        return EndedError("the connection to another process broke, for it has ended: this one cannot go on without it")
    if any(sign in text for sign in _SILENT):
        return LostError("another process has not answered in time: this one cannot go on without it")
    return LostError(str(error)) if isinstance(error, dist.DistError) else None


def stop() -> None:
    """Leaves the group, if there is one."""
    if _grouped():
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Within the block this process acts as if there were no others: it exchanges nothing and waits for nobody."""
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
    """How many processes there are."""
    return dist.get_world_size() if _grouped() else 1


def neighbours() -> int:
    """How many processes share this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world())) if _grouped() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return rank() == 0


def barrier() -> None:
    """Waits until every process has come here."""
    if _grouped():
        dist.barrier()


def sum_(tensor: torch.Tensor) -> torch.Tensor:
    """Replaces `tensor` by its sum over all processes, and returns it."""
    if _grouped():
        dist.all_reduce(tensor)
    return tensor


def least(number: int) -> int:
    """The smallest of the numbers that the processes give."""
    if not _grouped():
        return number
    tensor = torch.tensor(number, device=_meeting_place())
    dist.all_reduce(tensor, dist.ReduceOp.MIN)
    return int(tensor)


def agree(number: int) -> bool:
    """Whether all processes give the same number."""
    return least(number) == -least(-number)


def texts(text: str) -> list[str]:
    """The texts that the processes give, by rank."""
    if not _grouped():
        return [text]
    data = text.encode()
    longest = -least(-len(data))
    rows = torch.zeros(world(), longest, dtype=torch.uint8)
    rows[rank(), : len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    rows = sum_(rows.to(_meeting_place())).cpu()
    return [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows]


def _meeting_place() -> torch.device:
    """Where tensors must be that the back end exchanges."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


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
        # As bytes, since back ends know fewer dtypes than torch.
        dist.broadcast(data.reshape(-1).view(torch.uint8), 0)
        tensor.detach().copy_(data)


def _stay_inside() -> None:
    """If all processes share this machine, make gloo use the loopback interface: the host name may not resolve."""
    inside = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")] if os.name == "posix" else []
    if inside and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", inside[0])


def _grouped() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()
