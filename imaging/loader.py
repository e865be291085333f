"""From a data set to the endless sequence of batches that training reads."""

import atexit
import signal
import threading
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from imaging.demo import DemoSet
from imaging.imageset import ImageSet
from imaging.order import EndlessBatches
from system.machine import cores
from system.private import stop_workers

Batch = tuple[torch.Tensor, torch.Tensor]

AHEAD = 4  # batches that each worker reads before they are wanted
LOST_WORKER = ("DataLoader worker", "shared memory")  # what PyTorch says when a worker is killed, or cannot share


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
    """Endless (pixels uint8 [n, C, H, W], labels int64 [n]) with n = batch / world, in the set's own order.

    The sequence depends on (seed, position, batch, rank, world) and not on the number of worker processes. A picture
    that cannot be read raises the data set's own one-sentence ValueError, also when a worker met it. Workers start with
    the first batch and stop when the generator is closed or dropped.
    """
    order = EndlessBatches(len(dataset), batch, seed, position, rank, world, dataset.index_at)
    return _unwrapped(
        DataLoader(
            _WholeBatches(dataset),
            batch_sampler=order,
            collate_fn=_as_is,
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=AHEAD if workers else None,
            worker_init_fn=_leave_interrupts_to_parent,
            generator=torch.Generator(),  # so that PyTorch's global random stream stays untouched
        )
    )


def default_workers(dataset: ImageSet, on_cpu: bool = False) -> int:
    """Worker processes that suit the set, and training `on_cpu` or elsewhere: up to four.

    None where its pixels lie in memory anyway, or where the CPU itself trains: it has no time to spare then, and taking
    a batch over from another process takes as long as reading some twenty small images.
    """
    if on_cpu or isinstance(dataset, DemoSet):
        return 0
    return min(4, cores())


def _unwrapped(loader: DataLoader) -> Generator[Batch, None, None]:
    stream = _started(loader)
    end = partial(_end, stream)
    atexit.register(end)  # Python would wait for workers of a stream that nobody closed, and they ignore SIGTERM
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


def _started(loader: DataLoader) -> Iterator[Any]:
    """PyTorch's iterator without its handler of SIGCHLD, which raises a worker's death in the middle of any statement.

    Without it the next batch that is asked for tells of the death, within seconds.
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
    except (RuntimeError, EOFError, OSError) as error:  # the last two where a worker dies while it hands a batch over
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in LOST_WORKER):
            raise
        raise ValueError(
            "a process that reads images was killed, probably for want of memory: try a smaller --workers. In a "
            "container shared memory may be too small (64 MB of /dev/shm are usual): start it with --shm-size=8g or "
            "--ipc=host, or use --workers 0"
        ) from error


def _end(stream: Iterator[Any]) -> None:
    """Stops the workers. One that waits for what a killed one holds would never end by itself."""
    for worker in stop_workers(stream):
        if worker.is_alive():
            worker.kill()
        worker.join()


class _WholeBatches(Dataset):
    """Reads a batch at a time. A failure travels as its sentence: as an exception it would come back as a traceback."""

    def __init__(self, dataset: ImageSet) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> Batch | str:
        try:
            items = [self.dataset[i] for i in indices]
        except (ValueError, OSError) as error:
            return str(error)
        # A worker's batch is put together in the memory that it shares with the parent, which spares a copy.
        pixels = default_collate([torch.from_numpy(pixels) for pixels, _ in items])  # [n, C, H, W]
        return pixels, torch.tensor([label for _, label in items], dtype=torch.int64)


def _as_is(outcome: Any) -> Any:
    return outcome


def _leave_interrupts_to_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; only the parent may decide what it means."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
