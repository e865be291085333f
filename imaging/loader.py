"""Reads the endless sequence of training batches from a data set."""

import atexit
import signal
import threading
from collections.abc import Generator, Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from imaging.demo import DemoSet
from imaging.imageset import ImageSet
from system.private import stop_workers
from system.resources import cores

Batch = tuple[torch.Tensor, torch.Tensor]

AHEAD = 4  # batches that each worker prefetches
LOST_WORKER = ("DataLoader worker", "shared memory")  # in PyTorch's message if a worker dies


def batches(
    dataset: ImageSet,
    batch: int,
    seed: int,
    position: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Yield (pixels uint8 [n, C, H, W], labels int64 [n]) endlessly, with n = batch / world, in the set's own order.

    Step k shows the positions `position + k * batch ...` of the shuffle with `seed`; each of `world` ranks has an equal
    slice of them, however many `workers` (processes; 0: none) read. An image that cannot be read raises the data set's
    ValueError, also if a worker read it. Workers start with the first batch and stop when the generator is closed or
    dropped. `pin` puts batches into page-locked memory, for CUDA.
    """
    share = batch // world
    starts = count(position + rank * share, batch)
    loader = DataLoader(
        _WholeBatches(dataset),  # type: ignore[arg-type]
        batch_size=None,
        sampler=([dataset.index_at(seed, start + i) for i in range(share)] for start in starts),  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=AHEAD if workers else None,
        worker_init_fn=_leave_interrupts_to_parent,
        generator=torch.Generator(),  # so that PyTorch's global random stream stays untouched
    )
    stream = _started(loader)
    end = partial(_end, stream)
    atexit.register(end)  # Python would wait for the workers of a stream that was not closed, and they ignore SIGTERM
    try:
        while True:
            outcome = _next(stream)
            if isinstance(outcome, str):
                raise ValueError(outcome)
            pixels, labels = outcome
            yield pixels, labels
    finally:
        atexit.unregister(end)
        end()


def default_workers(dataset: ImageSet, on_cpu: bool = False) -> int:
    """The default number of workers: up to four; 0 for the demo set, or if the CPU trains and has no cores to spare."""
    return 0 if on_cpu or isinstance(dataset, DemoSet) else min(4, cores())


def _started(loader: DataLoader) -> Iterator[Any]:
    """PyTorch's iterator without its SIGCHLD handler, which reports a worker's death in the middle of any statement.

    Without it, reading the next batch reports the death within seconds.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def _next(stream: Iterator[Any]) -> Any:
    try:
        return next(stream)
    except (RuntimeError, EOFError, OSError) as error:  # the last two if a worker dies while it sends a batch
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in LOST_WORKER):
            raise
        raise ValueError(
            "a process that reads images was killed, probably out of memory: try a smaller --workers. In a container "
            "shared memory may be too small (64 MB of /dev/shm by default): start it with --shm-size=8g or --ipc=host, "
            "or use --workers 0"
        ) from error


def _end(stream: Iterator[Any]) -> None:
    """Stop the workers. A worker that waits for a lock of a killed one would never end by itself."""
    for worker in stop_workers(stream):
        if worker.is_alive():
            worker.kill()
        worker.join()


class _WholeBatches:
    """Reads a batch at a time. A failure is sent as its message: as an exception it would arrive as a traceback."""

    def __init__(self, dataset: ImageSet) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> Batch | str:
        try:
            items = [self.dataset[i] for i in indices]
        except (ValueError, OSError) as error:
            return str(error)
        # default_collate puts a worker's batch into shared memory, which saves a copy.
        pixels = default_collate([torch.from_numpy(pixels) for pixels, _ in items])  # [n, C, H, W]
        return pixels, torch.tensor([label for _, label in items], dtype=torch.int64)


def _leave_interrupts_to_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; only the parent handles it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
