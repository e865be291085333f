"""Statistics on every device: features of the first process handed to all, and rows of a matrix dealt to them.

Distances between tens of thousands of features take minutes on a CPU and seconds on a GPU, and each process can take
its share of them. On CPUs the numbers are those of one process, bit for bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils import distributed

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_HEADER = 16  # numbers that tell the type and the shape of a tensor


def statistics_device(device: torch.device) -> torch.device:
    """Where statistics are computed whose pictures are looked at on `device`: there if it is CUDA, else on the CPU.

    MPS knows neither float64 nor all of the operators.
    """
    return device if device.type == "cuda" else torch.device("cpu")


def shared(tensor: Tensor | None, device: torch.device) -> Tensor:
    """Return the first process's tensor on the device of each process. Every process must call it.

    Args:
        tensor: of a floating-point type; used on the first process, ignored on others.
        device: of this process's copy, as `statistics_device` gives it.
    """
    if distributed.world() == 1:
        assert tensor is not None
        return tensor.to(device)
    header = torch.full([_HEADER], -1, dtype=torch.int64, device=device)
    if distributed.is_first() and tensor is not None:
        facts = [_DTYPES.index(tensor.dtype), *tensor.shape]
        header[: len(facts)] = torch.tensor(facts)
    distributed.broadcast_([header])
    kind, *shape = (number for number in header.tolist() if number >= 0)
    first = tensor is not None and distributed.is_first()
    whole = tensor.to(device).contiguous() if first and tensor is not None else None
    if whole is None:
        whole = torch.empty(shape, dtype=_DTYPES[kind], device=device)
    distributed.broadcast_([whole])
    return whole


def dealt(count: int, part: int, compute: Callable[[slice], Tensor], like: Tensor) -> Tensor:
    """Compute `count` numbers in parts, which are dealt to the processes, and give them all to each process.

    Args:
        count: of numbers.
        part: how many are computed at once.
        compute: gives the numbers of a slice, in the type and on the device of `like`.
        like: a tensor of the type and on the device of the result.
    """
    found = like.new_zeros(count)
    for place, start in enumerate(range(0, count, part)):
        if place % distributed.world() == distributed.rank():
            rows = slice(start, min(start + part, count))
            found[rows] = compute(rows)
    return distributed.sum_(found)
