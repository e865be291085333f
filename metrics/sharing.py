"""Work on statistics, dealt to all processes.

On CPUs the numbers are those of one process, bit for bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torch_utils import distributed

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_HEADER = 16  # numbers that hold the dtype and the shape of a tensor


def statistics_device(device: torch.device) -> torch.device:
    """The device for statistics of pictures on `device`: CUDA itself, else the CPU, because MPS has no float64."""
    return device if device.type == "cuda" else torch.device("cpu")


def shared(tensor: Tensor | None, device: torch.device) -> Tensor:
    """The floating-point tensor of rank 0, on `device` of every process. All processes must call it."""
    if distributed.world() == 1:
        assert tensor is not None
        return tensor.to(device)
    first = tensor is not None and distributed.is_first()
    header = torch.full([_HEADER], -1, dtype=torch.int64, device=device)
    if first and tensor is not None:
        facts = [_DTYPES.index(tensor.dtype), *tensor.shape]
        header[: len(facts)] = torch.tensor(facts)
    distributed.broadcast_([header])
    kind, *shape = (number for number in header.tolist() if number >= 0)
    if first and tensor is not None:
        whole = tensor.to(device).contiguous()
    else:
        whole = torch.empty(shape, dtype=_DTYPES[kind], device=device)
    distributed.broadcast_([whole])
    return whole


def dealt(count: int, part: int, compute: Callable[[slice], Tensor], like: Tensor) -> Tensor:
    """`count` numbers, computed in parts by all processes and returned to each.

    Args:
        count: of numbers.
        part: numbers that are computed together.
        compute: returns the numbers of a slice, in the dtype and on the device of `like`.
        like: a tensor with the dtype and device of the result.
    """
    found = like.new_zeros(count)
    for place, start in enumerate(range(0, count, part)):
        if place % distributed.world() == distributed.rank():
            rows = slice(start, min(start + part, count))
            found[rows] = compute(rows)
    return distributed.sum_(found)
