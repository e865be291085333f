"""One process per device, as `torchrun` starts them. In a single process every function here does nothing."""

import gc
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from torch_utils import launch
from torch_utils.launch import PATIENCE

BUCKET = 25 * 2**20  # bytes exchanged at once, as in PyTorch's DistributedDataParallel (Li et al. 2020, section 4.2)
ALIGNMENT = 16  # numbers: gradients begin at multiples, so that kernels can load whole vectors

_alone = False
# What back ends write, in errors without a type of their own, when a peer is gone or does not answer.
_GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "connection refused", "remote error")
_SILENT = ("timed out", "timeout")


class LostError(RuntimeError):
    """A peer process has ended or does not answer, so this process cannot continue."""


class EndedError(LostError):
    """A peer process died; the launcher reports why."""


def start(device: torch.device | str, patience: float = PATIENCE) -> torch.device:
    """Join the processes that `torchrun` started, for `patience` minutes at most, and return the device of this one.

    "cuda" is that of the local rank, over nccl; "cpu" is shared, over gloo. Raises ValueError if devices are missing.
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
        gc.collect()  # a group that a cycle of references keeps would die with the interpreter, and abort it


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


def sum_(tensor: Tensor) -> Tensor:
    """Replace `tensor` by its sum over all processes, and return it."""
    if _grouped():
        dist.all_reduce(tensor)
    return tensor


def texts(text: str) -> list[str]:
    """The texts of all processes, by rank."""
    found = [text] * world()
    if _grouped():
        dist.all_gather_object(found, text)
    return found


def least(number: int) -> int:
    """The smallest of the processes' numbers."""
    return min(map(int, texts(str(number))))


def agree(number: int) -> bool:
    """Whether all processes have the same number."""
    return len(set(texts(str(number)))) == 1


def mean(tensor: Tensor) -> Tensor:
    """The mean over all processes, as part of the graph. Its gradient is averaged, too, as are all gradients."""
    return _Mean.apply(tensor) if _grouped() else tensor


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_(tensor.contiguous() / world())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_(gradient.contiguous() / world())


@torch.no_grad()
def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by the tensor of rank 0."""
    for tensor in tensors if _grouped() else ():
        data = tensor.detach().contiguous()
        dist.broadcast(data.reshape(-1).view(torch.uint8), 0)  # bytes: back ends know fewer dtypes than torch
        tensor.detach().copy_(data)


class GradientExchange:
    """Averages gradients over all processes in one step: `prepare`, backward passes, `begin`, the last one, `finish`.

    Gradients are accumulated in buckets of `size` bytes, from the last parameter on, whose gradient comes first. During
    the last pass a bucket is sent once it is complete. Layout and order never vary, so sums are reproducible.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], size: int = BUCKET) -> None:
        self._groups: list[list[nn.Parameter]] = []
        kind, room = None, 0
        for parameter in reversed(parameters):
            needed = _places(parameter) * parameter.element_size()
            if kind != (parameter.dtype, parameter.device) or needed > room:
                self._groups.append([])
                kind, room = (parameter.dtype, parameter.device), size
            self._groups[-1].append(parameter)
            room -= needed
        self._missing = list(map(len, self._groups))  # gradients that the last backward pass has not finished
        self._buckets: list[Tensor] = []
        self._works: list[Any] = []  # of buckets that were sent
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def prepare(self) -> None:
        """Set every gradient to zero, in a bucket, with the memory layout of its parameter."""
        for group in self._groups:
            bucket = torch.zeros(sum(map(_places, group)), dtype=group[0].dtype, device=group[0].device)
            self._buckets.append(bucket)
            offset = 0
            for parameter in group:
                strides = torch.empty_like(parameter, device="meta").stride()
                parameter.grad = bucket.as_strided(parameter.shape, strides, offset)
                offset += _places(parameter)

    def begin(self) -> None:
        """Send buckets from now on: the next backward pass is the last one."""
        for number, group in enumerate(self._groups):
            hook = partial(self._arrived, number)
            self._hooks += [parameter.register_post_accumulate_grad_hook(hook) for parameter in group]

    def finish(self) -> None:
        """Send the other buckets, with zeros for parameters that no loss reaches, and wait for all of them."""
        for hook in self._hooks:
            hook.remove()
        self._missing = [0] * len(self._groups)
        self._send()
        for work in self._works:
            work.wait()

    def _arrived(self, number: int, _: Tensor) -> None:
        self._missing[number] -= 1
        self._send()

    def _send(self) -> None:
        while (sent := len(self._works)) < len(self._buckets) and not self._missing[sent]:
            self._works.append(dist.all_reduce(self._buckets[sent].div_(dist.get_world_size()), async_op=True))


def _places(parameter: nn.Parameter) -> int:
    """How many numbers a gradient takes in a bucket."""
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT


def _grouped() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()
