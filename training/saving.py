"""Saves states in the background."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from torch_utils import checkpoint


class Saver:
    """Saves one checkpoint after another. On CUDA `save` only copies the tensors; a thread hashes and writes the copy.

    On a CPU the thread would slow training down, so `save` writes the file. An error of the thread is raised once, by
    the next call of `save`, `look` or `wait`. There is one copy at most, in pinned memory that is reused.
    """

    def __init__(self, device: torch.device) -> None:
        self.in_background = device.type == "cuda"
        self._pinned = device.type == "cuda"
        self._copies: checkpoint.Tensors = {}
        self._pool = ThreadPoolExecutor(1, "saving")
        self._pending: Future[None] | None = None

    def save(self, path: Path, tensors: checkpoint.Tensors, metadata: Mapping[str, Any], previous: Path) -> None:
        """As `checkpoint.save`, after the previous save. In the background, return once the tensors are copied."""
        self.wait()
        if not self.in_background:
            checkpoint.save(path, tensors, metadata, previous)
            return
        copies = self._copied(tensors)
        self._pending = self._pool.submit(checkpoint.save, path, copies, dict(metadata), previous)

    def look(self) -> None:
        """Raise the error of a save that has failed, without waiting."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last save is on the disk; raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the last save, ignore its error, and end the thread."""
        self._pool.shutdown(wait=True)
        self._copies = {}

    def _copied(self, tensors: checkpoint.Tensors) -> checkpoint.Tensors:
        """Copies of the tensors, in the memory of the last copies where shape and dtype are the same."""
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
        """Memory for a copy of a tensor, pinned if the system allows it."""
        try:
            return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._pinned)
        except RuntimeError:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
