"""Run folders such as `runs/00000-ffhq-auto`: the names of their files, `log.txt`, and files of JSON lines.

A run folder may come from a stranger: only plain files are appended to, and lines are read with limits.
"""

import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

from system.files import replacing
from system.text import public
from system.untrusted import json_object
from torch_utils.terminal import clean, put

STATE = "state.safetensors"  # everything needed to resume the run
PREVIOUS_STATE = "state-previous.safetensors"  # in case the newest state is damaged
REALS = "reals.png"  # a sheet of real images
STATE_FORMAT = "training-state"  # in the metadata of a state
LONGEST_LINE = 2**22  # bytes; a tick with thousands of statistics takes some 100,000
LARGEST_LINES = 2**30  # bytes of a file; a run of 25,000 kimg writes some ten million
LARGEST_COUNT = 2**53  # images; floats hold every whole number up to here

_RUN = re.compile(r"([0-9]{5,18})(-.*)?")
_NETWORK = re.compile(r"network-([0-9]{6,18}\.[0-9])\.safetensors")


class Resumable(NamedTuple):
    """A run to resume."""

    run: Path
    state: Path
    previous: Path | None  # state to load if `state` is damaged


def create(outdir: Path | str, name: str) -> Path:
    """Make the folder of a new run, `outdir/00000-name` with the next free number, and return it.

    Only one process can make the folder of a number. Another run may have renamed its folder since, so look again.
    """
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    while True:
        number = max((number for number, _ in _numbered(outdir)), default=-1) + 1
        claim = outdir / f"{number:05d}"
        with suppress(FileExistsError):
            claim.mkdir()
            if [other for other, _ in _numbered(outdir)].count(number) == 1:
                return claim.rename(outdir / f"{number:05d}-{name}")
            claim.rmdir()


def latest(outdir: Path | str) -> Path | None:
    """Return the run folder with the highest number; None if there is no run."""
    return max(_numbered(Path(outdir)), default=(0, None))[1]


def newest_network(outdir: Path | str, fits: Callable[[Path], bool] = lambda path: True) -> Path | None:
    """Return the last network of the highest-numbered run whose last network `fits`; None if there is no network."""
    newest = (newest_in(run) for _, run in sorted(_numbered(Path(outdir)), reverse=True))
    return next((path for path in newest if path and fits(path)), None)


def newest_in(run: Path) -> Path | None:
    """Return the network of a run that has seen the most images; None if there is no network."""
    return max(snapshots(run), default=(0.0, None))[1]


def snapshots(run: Path) -> list[tuple[float, Path]]:
    """Return the networks of a run with the thousands of images that each has seen, in order."""
    return sorted((float(found[1]), path) for path in run.iterdir() if (found := _NETWORK.fullmatch(path.name)))


def all_runs(outdir: Path | str) -> list[Path]:
    """Return the run folders, the newest first."""
    return [run for _, run in sorted(_numbered(Path(outdir)), reverse=True)]


def network_path(run: Path, seen: int) -> Path:
    """Return `network-000200.0.safetensors`: the network after `seen` images, in thousands with one decimal."""
    return run / f"network-{_kimg(seen)}.safetensors"


def is_network_name(name: object) -> bool:
    """Whether a value is a file name that `network_path` gives, without a folder."""
    return isinstance(name, str) and _NETWORK.fullmatch(name) is not None


def samples_path(run: Path, seen: int) -> Path:
    """Return `fakes-000200.0.png`: the sample sheet after `seen` images, in thousands with one decimal."""
    return run / f"fakes-{_kimg(seen)}.png"


def has_state(run: Path) -> bool:
    """Whether a run folder contains a state, damaged or not."""
    return (run / STATE).exists() or (run / PREVIOUS_STATE).exists()


def resolve(text: str, outdir: Path | str) -> Resumable:
    """Find the run that `--resume` names: "latest" (in `outdir`), a run folder, or a state file in a run folder.

    Raises FileNotFoundError if it does not exist, ValueError if it is not a run, or has links or special files.
    """
    if not text:
        raise ValueError('--resume is empty: give a run folder or "latest"')
    path = Path(text)
    if text == "latest" or (text.lower() == "latest" and not path.exists()):
        numbered = [run for _, run in sorted(_numbered(Path(outdir)), reverse=True)]
        found = next(filter(has_state, numbered), None)  # a run that failed at its start has none
        if found is None:
            raise FileNotFoundError(f"there is no run in {outdir} to resume: give its folder, or another --outdir")
        path = found
    run = path if path.is_dir() else path.parent
    if not path.exists() or (run != path and path.name not in (STATE, PREVIOUS_STATE)):
        raise FileNotFoundError(
            f'{public(text)} is not a run to resume: give a run folder, a state file in it, or "latest"; '
            f"to start a new run from a network, give --transfer {public(text)}"
        )
    if not has_state(run):
        raise FileNotFoundError(f"{run} has no {STATE}: give the folder of a run that has saved a state")
    for path_in_run in sorted(run.iterdir()):
        if not stat.S_ISDIR(mode := path_in_run.lstat().st_mode):
            _check_plain(path_in_run, mode)
    older = path.name == PREVIOUS_STATE
    return Resumable(run, run / PREVIOUS_STATE if older else run / STATE, None if older else run / PREVIOUS_STATE)


def _numbered(outdir: Path) -> list[tuple[int, Path]]:
    if not outdir.is_dir():
        return []
    found = ((_RUN.fullmatch(path.name), path) for path in outdir.iterdir() if path.is_dir())
    return [(int(match[1]), path) for match, path in found if match]


def _kimg(seen: int) -> str:
    tenths = seen // 100  # whole numbers: rounding a float would go both ways
    return f"{tenths // 10:06d}.{tenths % 10}"


class StatsFile:
    """`stats.jsonl`: a JSON object per line, with `seen`, the number of real images shown so far."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, seen: int, record: Mapping[str, Any]) -> None:
        """Add a line. nan and infinity are written as null, since JSON has neither."""
        line = json.dumps({"seen": seen} | {key: _finite(value) for key, value in record.items()})
        with appending(self.path) as file:
            file.write(line + "\n")

    def amend(self, seen: int, record: Mapping[str, Any]) -> None:
        """Add values to the last line if it has the same `seen`; otherwise append a line."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        found = json_object(lines[-1]) or {} if lines else {}
        if found.pop("seen", None) == seen:
            os.truncate(self.path, sum(map(len, lines[:-1])))
            record = found | dict(record)
        self.append(seen, record)

    def rewind(self, seen: int) -> None:
        """Drop the lines after `seen` images and damaged lines, before a run resumes."""
        if self.path.exists():
            rewrite(self.path, (record for record in self.read() if record["seen"] <= seen))

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the undamaged records in order. `seen` is a whole number from 0 to 2**53."""
        return (record for record in json_lines(self.path) if is_count(record.get("seen")))


class Log:
    """Prints lines on a terminal (a stream; standard output by default) and appends them to a file (`log.txt`)."""

    def __init__(self, path: Path | str, terminal: TextIO | None = None) -> None:
        self._file = appending(Path(path))
        self._terminal = terminal

    def __call__(self, text: str = "") -> None:
        self.keep(text)
        put(f"{text}\n", self._terminal or sys.stdout)  # sys.stdout may have been replaced since the last line

    def keep(self, text: str) -> None:
        """Write a line to the file only, with control characters escaped and secrets of URLs removed."""
        self._file.write(f"{clean(text)}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines. Damaged lines and lines over 4 MiB are skipped.

    Raises FileNotFoundError if it is missing, ValueError if it is not a plain file or larger than 1 GiB.
    """
    _check_plain(path, path.stat().st_mode)
    with path.open("rb") as file:
        if path.stat().st_size > LARGEST_LINES:
            raise ValueError(f"{path} is larger than 1 GiB, the limit for such a file: remove it")
        while line := file.readline(LONGEST_LINE):  # the parts of a longer line are no objects
            if (found := json_object(line)) is not None:
                yield found


def is_count(value: Any) -> bool:
    """Whether a value is a number of images: a whole number from 0 to 2**53."""
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def rewrite(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Replace a file of JSON lines by these records, which may be read from the file meanwhile."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def appending(path: Path) -> IO[str]:
    """Open a text file at its end, or create it. Raises ValueError if it is a link or not a plain file."""
    with suppress(FileNotFoundError):
        _check_plain(path, path.lstat().st_mode)
    return path.open("a", encoding="utf-8", errors="backslashreplace")


def _check_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFDIR: "folder"}
        kind = kinds.get(stat.S_IFMT(mode), "special file")
        raise ValueError(f"{path} is a {kind}, expected a plain file: remove it, or put the file in its place")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
