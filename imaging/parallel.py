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

AHEAD = 2  # chunks for each process, at work or done

_work: Callable[[Any], Any]  # of this worker process


def ordered(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, chunk: int, fork: bool = sys.platform == "linux"
) -> Generator[Result, None, None]:
    """Yield `work(job)` of every job, in order.

    Args:
        work: runs in the worker processes; its errors are raised here.
        jobs: are read only shortly before their turn.
        workers: processes. For one of them, or a single chunk, no process is started.
        chunk: jobs that a process takes at a time.
        fork: fork this process, which spares sending `work` and importing PyTorch again. A process that has computed
            with PyTorch has threads, and must not be forked; the threads of FFmpeg and of progress bars do no harm.

    ValueError if a process was killed, or cannot be started.
    """
    remaining = iter(jobs)
    chunks = iter(lambda: list(islice(remaining, chunk)), [])
    first = list(islice(chunks, 2))
    if workers <= 1 or len(first) < 2:
        yield from map(work, chain.from_iterable(chain(first, chunks)))
        return
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("fork" if fork else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (work,))
    try:
        waiting = deque[Future[list[Any]]]()
        for jobs_ in chain(first, chunks):
            waiting.append(_submit(pool, jobs_, workers))
            if len(waiting) >= AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that reads images was killed, probably out of memory: try a smaller --workers"
        ) from error
    finally:
        ours = set(multiprocessing.active_children()) - before
        for process in ours:
            process.kill()
        pool.shutdown(cancel_futures=True)
        for process in ours:
            process.join()


def _submit(pool: ProcessPoolExecutor, jobs: list[Any], workers: int) -> "Future[list[Any]]":
    try:
        return pool.submit(_run, jobs)
    except OSError as error:
        raise ValueError(
            f"{workers} processes cannot be started ({error.strerror}): try a smaller --workers, or raise the limits "
            f"of the system (ulimit -n, ulimit -u)"
        ) from error


def _start(work: Callable[[Any], Any]) -> None:
    """Prepare a worker process."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, daemon=True).start()


def _run(jobs: list[Any]) -> list[Any]:
    return [_work(job) for job in jobs]


def _follow() -> None:
    """End this process when its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
