"""Gradients averaged over all processes while the backward pass still runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET = 25 * 2**20  # bytes exchanged at once, as in PyTorch's DistributedDataParallel (Li et al. 2020, section 4.2)
ALIGNMENT = 16  # numbers: gradients begin at multiples, so that kernels can load whole vectors


@dataclass
class _Bucket:
    """Consecutive memory for the gradients of some parameters."""

    flat: Tensor
    missing: int  # gradients that the last backward pass has not finished
    work: dist.Work | None = None


class GradientExchange:
    """The exchange of one step: `prepare`, backward passes, `begin`, the last backward pass, `finish`.

    Gradients are accumulated in buckets, so nothing is copied. During the last backward pass a bucket is sent once
    its gradients are there. Buckets are filled from the last parameter on, whose gradient comes first, and are sent in
    the same order by every process. Layout and order never vary, so sums are reproducible.

    Args:
        parameters: the same on every process.
        size: bytes of a bucket, at least one gradient.
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
        self._buckets: list[_Bucket] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._sent = 0

    def prepare(self) -> None:
        """Set every gradient to zero, in a bucket, with the memory layout of its parameter."""
        for group in self._groups:
            flat = torch.zeros(sum(map(_places, group)), dtype=group[0].dtype, device=group[0].device)
            self._buckets.append(_Bucket(flat, len(group)))
            offset = 0
            for parameter in group:
                strides = torch.empty_like(parameter, device="meta").stride()
                parameter.grad = flat.as_strided(parameter.shape, strides, offset)
                offset += _places(parameter)

    def begin(self) -> None:
        """Send buckets from now on: the next backward pass is the last one."""
        for group, bucket in zip(self._groups, self._buckets, strict=True):
            for parameter in group:
                hook = partial(self._arrived, bucket)
                self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))

    def finish(self) -> None:
        """Send the other buckets, with zeros for parameters that no loss reaches, and wait for all of them."""
        for hook in self._hooks:
            hook.remove()
        while self._sent < len(self._buckets):
            self._send()
        for bucket in self._buckets:
            assert bucket.work is not None
            bucket.work.wait()

    def _arrived(self, bucket: _Bucket, _: Tensor) -> None:
        bucket.missing -= 1
        while self._sent < len(self._buckets) and not self._buckets[self._sent].missing:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[self._sent]
        bucket.work = dist.all_reduce(bucket.flat.div_(dist.get_world_size()), async_op=True)
        self._sent += 1


def _places(parameter: nn.Parameter) -> int:
    """How many numbers a gradient takes in a bucket."""
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
