"""Saves states in the background."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from torch_utils import checkpoint


class Saver:
    """Saves one checkpoint after another.

    On CUDA `save` copies the tensors to the host and returns; a thread hashes and writes the copy. An error of the
    thread is raised by the next call. On a CPU the thread would slow training down, so `save` writes the file.
    """

    def __init__(self, device: torch.device) -> None:
        self.in_background = device.type == "cuda"
        self._pool = ThreadPoolExecutor(1, "saving")
        self._pending: Future[None] | None = None

    def save(self, path: Path, tensors: checkpoint.Tensors, metadata: Mapping[str, Any], previous: Path) -> None:
        """As `checkpoint.save`, after the previous save."""
        self.wait()
        if not self.in_background:
            checkpoint.save(path, tensors, metadata, previous)
            return
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
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
