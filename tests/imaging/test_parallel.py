import multiprocessing
import os
import signal
import time

import pytest

from imaging.parallel import AHEAD, ordered


def square(number):
    return number * number


def fall(number):
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number):
    raise OSError(5, f"no {number}")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 50])
def test_results_come_in_order(workers, count):
    assert list(ordered(square, range(count), workers, 4)) == [n * n for n in range(count)]


def test_jobs_are_asked_for_only_shortly_before_their_turn():
    asked = []
    results = ordered(square, (asked.append(i) or i for i in range(1000)), 2, 5)
    for done in range(1, 200):
        next(results)
        assert len(asked) <= done + 5 * (2 * AHEAD + 1)
    results.close()


def test_a_process_that_is_killed():
    with pytest.raises(ValueError) as error:
        list(ordered(fall, range(100), 2, 4))
    assert str(error.value).startswith(
        "a process that reads images was killed, probably out of memory: try a smaller --workers"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_go_on(workers):
    with pytest.raises(OSError, match="no 0"):
        list(ordered(refuse, range(20), workers, 4))


def test_processes_that_cannot_be_started(monkeypatch):
    fork, left = os.fork, [2]

    def limited():
        left[0] -= 1
        if left[0] < 0:
            raise OSError(24, "Too many open files")
        return fork()

    monkeypatch.setattr(os, "fork", limited)
    with pytest.raises(ValueError) as error:
        list(ordered(square, range(100), 20, 4))
    assert str(error.value) == (
        "20 processes cannot be started (Too many open files): try a smaller --workers, or raise the limits of the "
        "system (ulimit -n, ulimit -u)"
    )
    assert not multiprocessing.active_children()


def large(number):
    return bytes(2**21)


def test_nothing_is_left_when_the_results_are_not_wanted_any_more():
    results = ordered(wait, range(100), 3, 1)
    next(results)
    results.close()
    assert not multiprocessing.active_children()


def wait(number):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0 if number == 0 else 1000)
