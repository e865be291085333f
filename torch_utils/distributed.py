"""One process per device, as `torchrun` starts them. With one process every function here does nothing."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

_alone = False


def start(device: torch.device | str) -> torch.device:
    """Joins the processes that `torchrun` started and returns the device of this one.

    On CUDA that is the device of the local rank, over nccl; elsewhere `device` itself, over gloo. Started without
    `torchrun`, or alone, it only returns `device`. Raises ValueError when the machine has too few CUDA devices.
    """
    device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type != "cuda":
        dist.init_process_group("gloo")
        return device
    local, present = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= present:
        raise ValueError(
            f"torchrun started more processes on this machine than it has CUDA devices ({present}): "
            f"give it --nproc-per-node={present}"
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


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
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    tensor = torch.tensor(number, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MIN)
    return int(tensor)


def mean(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over all processes, as part of the graph.

    Each process differentiates its own loss, and gradients are averaged afterwards: so this has the gradient that the
    mean has in the mean of all processes' losses.
    """
    return _Mean.apply(tensor) if _grouped() else tensor


def mean_(tensors: Sequence[torch.Tensor]) -> None:
    """Replaces every floating-point tensor by its mean over all processes, with one exchange per dtype."""
    if _grouped():
        _exchange(tensors, lambda flat: dist.all_reduce(flat.div_(world())))


def broadcast_(tensors: Sequence[torch.Tensor], source: int = 0) -> None:
    """Replaces every tensor by that of the process `source`, with one exchange per dtype."""
    if _grouped():
        # As bytes: the back ends know fewer dtypes than torch, and a copy needs no arithmetic.
        _exchange(tensors, lambda flat: dist.broadcast(flat.view(torch.uint8), source))


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        mean_([tensor])
        return tensor

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        mean_([gradient])
        return gradient


def _grouped() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()


@torch.no_grad()
def _exchange(tensors: Sequence[torch.Tensor], act: Callable[[torch.Tensor], object]) -> None:
    kinds = dict.fromkeys((t.dtype, t.device) for t in tensors)  # in order of appearance, the same on every process
    for kind in kinds:
        alike = [t for t in tensors if (t.dtype, t.device) == kind]
        flat = torch.cat([t.detach().reshape(-1) for t in alike])
        act(flat)
        parts = flat.split([t.numel() for t in alike])
        torch._foreach_copy_(alike, [part.view(t.shape) for t, part in zip(alike, parts, strict=True)])
