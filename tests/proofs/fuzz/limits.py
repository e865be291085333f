"""Reading hostile inputs in a process of its own, within limits of time and memory."""

import os
import random
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 10.0  # of a core that one input may take
MEMORY = 2**30  # bytes that reading one input may add
GRACE = 60.0  # seconds on the wall after which a silent process is killed: inputs are made and cores shared meanwhile
MOST_WORDS = 800  # letters of a sentence


@dataclass(frozen=True)
class Format:
    """A kind of input: what makes one in an empty folder, and what reads it to the end.

    `read` may raise ValueError or OSError, which the scripts turn into one sentence. `names` tells whether the sentence
    has to name the file.
    """

    name: str
    make: Callable[[random.Random, Path], Path]
    read: Callable[[Path], Any]
    names: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of one input: "" for `broken` when nothing was wrong with how it was met."""

    number: int
    refused: bool
    broken: str


def verdicts(kind: Format, count: int, folder: Path) -> list[Verdict]:
    """Make and read `count` inputs of a format. An input that ends the process is told, and the next ones are read."""
    found: list[Verdict] = []
    while len(found) < count:
        found += _some(kind, len(found), count, folder)
    return found


def _some(kind: Format, first: int, count: int, folder: Path) -> list[Verdict]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 0
        try:
            with (folder / "output.txt").open("a") as output:  # what readers print is not the test's
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                sys.stdout = sys.stderr = output
                for number in range(first, count):
                    os.write(writing, _line(_verdict(kind, number, folder)))
        except BaseException:
            os.write(writing, f"{-1}\t0\t{traceback.format_exc()[-500:]!r}\n".encode())
            code = 1
        os._exit(code)
    os.close(writing)
    found, late = _heard(reading), False
    os.close(reading)
    if len(found) < count - first:
        late = os.waitpid(child, os.WNOHANG)[0] == 0
        if late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            why = f"no answer in {GRACE:g} seconds"
        else:
            why = "it ended the process"
        if not found or found[-1].number >= 0:
            found.append(Verdict(first + len(found), False, why))
    else:
        os.waitpid(child, 0)
    assert all(verdict.number >= 0 for verdict in found), found[-1].broken  # the test itself failed
    return found


def _heard(reading: int) -> list[Verdict]:
    found, text, last = [], b"", time.monotonic()
    while time.monotonic() - last < GRACE:
        if not select.select([reading], [], [], 1.0)[0]:
            continue
        part = os.read(reading, 2**16)
        if not part:
            break
        last, text = time.monotonic(), text + part
        *lines, text = text.split(b"\n")
        for line in lines:
            number, refused, broken = line.decode().split("\t", 2)
            found.append(Verdict(int(number), refused == "1", broken))
    return found


def _line(verdict: Verdict) -> bytes:
    broken = verdict.broken.replace("\n", " | ").encode("ascii", "backslashreplace").decode()
    return f"{verdict.number}\t{int(verdict.refused)}\t{broken[:3000]}\n".encode()


def _verdict(kind: Format, number: int, folder: Path) -> Verdict:
    place = folder / f"case{number}"
    place.mkdir()
    chance = random.Random(f"{kind.name} {number}")
    path = kind.make(chance, place)
    before, started = _memory("VmRSS"), _spent()
    refused, broken = False, ""
    _reset_peak()
    try:
        kind.read(path)
    except (ValueError, OSError) as error:
        refused, text = True, str(error)
        if not text or len(text) > MOST_WORDS or not text.isprintable():
            broken = f"not a sentence: {text!r}"
        elif kind.names and place.name not in text:
            broken = f"names no file: {text!r}"
    except BaseException:
        broken = traceback.format_exc()[-2000:]
    took, more = _spent() - started, _memory("VmHWM") - before
    if took > SECONDS:
        broken = f"took {took:.1f} seconds"
    elif more > MEMORY:
        broken = f"took {more / 2**20:.0f} MiB"
    elif resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 > before + 2 * MEMORY:
        broken = "a process that it started took more than its memory"
    shutil.rmtree(place, ignore_errors=True)
    return Verdict(number, refused, broken)


def _spent() -> float:
    """Seconds of a core that this process and those it has started took so far."""
    return sum(os.times()[:4])


def _memory(row: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{row}:"):
            return int(line.split()[1]) * 1024
    return 0


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
