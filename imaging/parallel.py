"""Work on many pictures by several processes, whose results come back in order and never many at once."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
_Answer = tuple[list[Any], Exception | None]  # the results of a chunk, or what went wrong

AHEAD = 2  # chunks for each process: at work or done, never more


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
    team = _Team()
    try:
        try:
            team.start(work, workers)
        except OSError as error:
            raise ValueError(
                f"{workers} processes cannot be started ({error.strerror}): try a smaller --workers, or raise the "
                f"system's limits (ulimit -n, ulimit -u)"
            ) from error
        for results in team.ordered(chain(first, chunks)):
            yield from results
    finally:
        team.kill()


class _Team:
    """Processes with a pipe to each. A process has one chunk at a time, so neither side waits for the other to read."""

    def __init__(self) -> None:
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []

    def start(self, work: Callable[[Any], Any], workers: int) -> None:
        # Forked, the pictures' names need not be sent, and PyTorch, which this process has imported and never used, is
        # not imported again, which takes seconds. PyTorch starts threads when it first computes; the threads of FFmpeg
        # and of progress bars hold no lock that the work needs. Elsewhere forking is not safe.
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        for _ in range(workers):
            ours, theirs = context.Pipe()
            self.pipes.append(ours)
            process = context.Process(target=_serve, args=(work, theirs), daemon=True)
            process.start()
            self.processes.append(process)
            theirs.close()

    def ordered(self, chunks: Iterable[list[Any]]) -> Iterator[list[Any]]:
        """The results of each chunk, in order; those that come early wait."""
        chunks = iter(chunks)
        free, busy = list(self.pipes), dict[Connection, int]()
        done: dict[int, _Answer] = {}
        given = told = 0
        while True:
            while free and given - told < AHEAD * len(self.pipes) and (jobs := next(chunks, None)):
                pipe = free.pop()
                self._send(pipe, jobs)
                busy[pipe], given = given, given + 1
            if told in done:
                results, error = done.pop(told)
                if error is not None:
                    raise error
                yield results
                told += 1
            elif busy:
                for ready in wait(list(busy)):
                    assert isinstance(ready, Connection)
                    done[busy.pop(ready)] = self._received(ready)
                    free.append(ready)
            else:
                return

    def _send(self, pipe: Connection, jobs: list[Any]) -> None:
        try:
            pipe.send(jobs)
        except OSError as error:
            raise _killed() from error

    def _received(self, pipe: Connection) -> _Answer:
        try:
            answer: _Answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise _killed() from error
        return answer

    def kill(self) -> None:
        """Ends the processes whatever they do."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        for pipe in self.pipes:
            pipe.close()


def _killed() -> ValueError:
    return ValueError("a process that makes images was killed, probably for want of memory: try a smaller --workers")


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """What a process of the team does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it too, and ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, daemon=True).start()
    while True:
        try:
            jobs = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: _Answer = [work(job) for job in jobs], None
        except Exception as error:
            answer = [], error
        pipe.send(answer)


def _follow() -> None:
    """Ends this process when the one that started it is gone, killed without a chance to say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
