"""Work on many images by several processes; results come back in order, and few of them wait in memory."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

START = "fork" if sys.platform == "linux" else "spawn"  # a fork spares sending the work and importing PyTorch again
AHEAD = 2  # chunks for each process, at work or done

_work: Callable[[Any], Any]  # of this worker process


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
        yield from chain.from_iterable(pooled(work, chain(first, chunks), workers, AHEAD))


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
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # threads do not survive a fork
    threading.Thread(target=_follow, daemon=True).start()


def _run(jobs: list[Any]) -> list[Any]:
    return [_work(job) for job in jobs]


def _follow() -> None:
    """End this process when its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
