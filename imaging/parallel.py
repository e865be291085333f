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
    """Yield `work(job)` of every job, in order, by `workers` processes that take `chunk` jobs at a time.

    Jobs are read only shortly before their turn. For one worker, or a single chunk, no process is started. A `fork`
    spares sending `work` and importing PyTorch again, but a process that has computed with PyTorch must not be forked,
    since it has threads. Errors of `work` are raised here; ValueError if a process was killed, or cannot be started.
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
        for each in chain(first, chunks):
            try:
                waiting.append(pool.submit(_run, each))
            except OSError as error:
                raise ValueError(
                    f"{workers} processes cannot be started ({error.strerror}): try a smaller --workers, or raise the "
                    f"limits of the system (ulimit -n, ulimit -u)"
                ) from error
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
