"""Reading by several processes, in order and a little ahead: training batches, and any other work on many images."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, count, islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

import numpy as np
import torch

from imaging.demo import DemoSet
from imaging.imageset import ImageSet
from system.resources import cores

Job = TypeVar("Job")
Result = TypeVar("Result")
Batch = tuple[torch.Tensor, torch.Tensor]

AHEAD = 4  # batches that each worker prefetches
START = "fork" if sys.platform == "linux" else "spawn"  # a fork spares sending the work and importing PyTorch again
CHUNKS_AHEAD = 2  # chunks of other work for each process, at work or done

_work: Callable[[Any], Any]  # of this worker process


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
    indices = ([dataset.index_at(seed, start + i) for i in range(share)] for start in starts)
    made: Iterable[Batch] = map(partial(_read, dataset), indices)
    if workers:
        made = (each for (each,) in pooled(partial(_read, dataset), ([each] for each in indices), workers, AHEAD))
    yield from _pinned(made) if pin else made


def _read(dataset: ImageSet, indices: list[int]) -> Batch:
    items = [dataset[i] for i in indices]
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in items]))  # [n, C, H, W]
    return pixels, torch.tensor([label for _, label in items], dtype=torch.int64)


def _pinned(made: Iterable[Batch]) -> Generator[Batch, None, None]:
    """The batches in page-locked memory, to which a thread moves the next one."""
    with ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),)) as pool:
        ahead = deque[Future[Batch]]()
        for batch in made:
            ahead.append(pool.submit(lambda batch: (batch[0].pin_memory(), batch[1].pin_memory()), batch))
            if len(ahead) > 1:
                yield ahead.popleft().result()


def default_workers(dataset: ImageSet, on_cpu: bool = False) -> int:
    """The default number of workers: up to four; 0 for the demo set, or if the CPU trains and has no cores to spare."""
    return 0 if on_cpu or isinstance(dataset, DemoSet) else min(4, cores())


def ordered(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, chunk: int
) -> Generator[Result, None, None]:
    """`work(job)` of every job in order, as `pooled`, in chunks of jobs; one worker or chunk needs no process."""
    remaining = iter(jobs)
    chunks = iter(lambda: list(islice(remaining, chunk)), [])
    first = list(islice(chunks, 2))
    if workers <= 1 or len(first) < 2:
        yield from map(work, chain.from_iterable(chain(first, chunks)))
    else:
        yield from chain.from_iterable(pooled(work, chain(first, chunks), workers, CHUNKS_AHEAD))


def pooled(
    work: Callable[[Job], Result],
    chunks: Iterable[list[Job]],
    workers: int,
    ahead: int,
) -> Generator[list[Result], None, None]:
    """Yield [work(job) ...] of every chunk of jobs, in order, by processes that are up to `ahead` chunks in advance.

    The processes are forks whose parent may have threads, so PyTorch computes on one there. Errors of `work` are
    raised here; ValueError if a process was killed, or cannot be started. The processes end with the generator.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(START), _start, (work,))
    processes: list[Any] = []
    waiting = deque[Future[list[Any]]]()
    try:
        for each in chunks:
            try:
                waiting.append(pool.submit(_run, each))
            except OSError as error:
                raise ValueError(
                    f"{workers} processes cannot be started ({error.strerror}): try a smaller --workers, or raise the "
                    f"limits of the system (ulimit -n, ulimit -u)"
                ) from error
            finally:
                processes = list((pool._processes or {}).values())
            if len(waiting) >= ahead * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that reads images was killed, probably out of memory: try a smaller --workers. In a container "
            "shared memory may be too small (64 MB of /dev/shm by default): start it with --shm-size=8g or --ipc=host, "
            "or use --workers 0"
        ) from error
    finally:
        for process in processes:
            process.kill()
        pool.shutdown(cancel_futures=True)
        for process in processes:
            process.join()


def _start(work: Callable[[Any], Any]) -> None:
    """Prepare a worker process. Ctrl-C reaches the whole process group; only the parent handles it."""
    global _work
    _work = work
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)  # threads do not survive a fork
    threading.Thread(target=_follow, daemon=True).start()


def _run(jobs: list[Any]) -> list[Any]:
    return [_work(job) for job in jobs]


def _follow() -> None:
    """End this process when its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
