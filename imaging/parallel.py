"""Work on many pictures by several processes, whose results come back in order and never many at once."""

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

AHEAD = 2  # chunks for each process: done or waiting, never more
_work: Callable[[Any], Any] | None = None  # of this process, when it is one of the workers


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, chunk: int
) -> Generator[Result, None, None]:
    """`work` of every job, in their order, by `workers` processes that take `chunk` jobs at a time.

    Jobs are asked for only shortly before their turn. No process is started for a single chunk, or a single worker.
    ValueError when a process was killed; errors of `work` go on.
    """
    remaining = iter(jobs)
    chunks = iter(lambda: list(islice(remaining, chunk)), [])
    first = list(islice(chunks, 2))
    if workers <= 1 or len(first) < 2:
        for jobs_ in chain(first, chunks):
            yield from map(work, jobs_)
        return
    # With fork the pictures' names need not be sent; elsewhere it is not safe.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pool = ProcessPoolExecutor(workers, context, _begin, (work,))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for jobs_ in chain(first, chunks):
            waiting.append(pool.submit(_do, jobs_))
            if len(waiting) >= AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that makes images was killed, probably for want of memory: try a smaller --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it too, and ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """Ends this process when the one that started it is gone, killed without a chance to say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _do(jobs: list[Any]) -> list[Any]:
    assert _work is not None
    return [_work(job) for job in jobs]
