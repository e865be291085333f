"""Writes states while training goes on."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from torch_utils import checkpoint


class Saver:
    """Saves one checkpoint after another. On CUDA it only copies the tensors: a thread hashes and writes the copy.

    On a CPU the thread would take the time from training that it saves, and the copy memory.

    An error of the thread is raised by the next call of any method here, once. So a run that has called `wait` without
    an error has its last save on the disk. One copy is held at most, in pinned memory that is kept for the next save.
    """

    def __init__(self, device: torch.device) -> None:
        self.in_background = device.type == "cuda"
        self._pinned = device.type == "cuda"
        self._copies: checkpoint.Tensors = {}
        self._pool = ThreadPoolExecutor(1, "saving")
        self._pending: Future[None] | None = None

    def save(self, path: Path, tensors: checkpoint.Tensors, metadata: Mapping[str, Any], previous: Path) -> None:
        """As `checkpoint.save`. In the background it returns once the tensors are copied, after the save before."""
        self.wait()
        if not self.in_background:
            checkpoint.save(path, tensors, metadata, previous)
            return
        copies = self._copied(tensors)
        self._pending = self._pool.submit(checkpoint.save, path, copies, dict(metadata), previous)

    def look(self) -> None:
        """Raises the error of a save that has failed meanwhile; waits for none."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Returns when the last save is on the disk. Raises its error, as `checkpoint.save` does."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for the last save, without its error, and ends the thread."""
        self._pool.shutdown(wait=True)
        self._copies = {}

    def _copied(self, tensors: checkpoint.Tensors) -> checkpoint.Tensors:
        """The tensors in memory of their own, which is that of the last copies where they have the same form."""
        copies = {}
        for name, tensor in tensors.items():
            copy = self._copies.get(name)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = self._room(tensor)
            copies[name] = copy.copy_(tensor.detach(), non_blocking=self._pinned)
        if self._pinned:
            torch.cuda.synchronize()
        self._copies = copies
        return copies

    def _room(self, tensor: torch.Tensor) -> torch.Tensor:
        """Memory for a copy of a tensor, pinned where the system allows it."""
        try:
            return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._pinned)
        except RuntimeError:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
