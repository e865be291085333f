"""Run folders: `runs/00000-ffhq-auto` and the names of what lies in them."""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from system.files import replacing
from system.text import harmless
from torch_utils.terminal import put

STATE = "state.safetensors"
PREVIOUS_STATE = "state-previous.safetensors"
STATE_FORMAT = "training-state"  # what a state's metadata call it

_RUN = re.compile(r"(\d{5,})(-.*)?")
_NETWORK = re.compile(r"network-(\d{6,}\.\d)\.safetensors")


class Resumable(NamedTuple):
    """Where a run goes on: its folder, the state to load, and the one to fall back on (None: on none)."""

    run: Path
    state: Path
    previous: Path | None


def create(outdir: Path | str, name: str) -> Path:
    """Makes the folder of a new run, `outdir/00000-name` with the next free number, and returns it.

    Runs that start at the same moment get different numbers.
    """
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    number = max((number for number, _ in _numbered(outdir)), default=-1) + 1
    while True:
        # The number is claimed by a folder of that name alone, which only one process can make. Another run may have
        # made and renamed its claim since the listing: hence the second look.
        claim = outdir / f"{number:05d}"
        try:
            claim.mkdir()
        except FileExistsError:
            number += 1
            continue
        if any(other == number and path != claim for other, path in _numbered(outdir)):
            claim.rmdir()
            number += 1
            continue
        return claim.rename(outdir / f"{number:05d}-{name}")


def latest(outdir: Path | str) -> Path | None:
    """The run folder with the highest number, or None."""
    runs = _numbered(Path(outdir))
    return max(runs)[1] if runs else None


def newest_network(outdir: Path | str) -> Path | None:
    """The last network of the highest-numbered run that has one, or None."""
    newest = (newest_in(run) for _, run in sorted(_numbered(Path(outdir)), reverse=True))
    return next(filter(None, newest), None)


def newest_in(run: Path) -> Path | None:
    """The network of a run that has seen most images, or None."""
    networks = [(float(found[1]), path) for path in run.iterdir() if (found := _NETWORK.fullmatch(path.name))]
    return max(networks)[1] if networks else None


def network_path(run: Path, seen: int) -> Path:
    """`network-000200.0.safetensors`: the network after `seen` images, in thousands with one decimal."""
    return run / f"network-{_kimg(seen)}.safetensors"


def fakes_path(run: Path, seen: int) -> Path:
    """`fakes-000200.0.png`: the sample sheet after `seen` images, in thousands with one decimal."""
    return run / f"fakes-{_kimg(seen)}.png"


def reals_path(run: Path) -> Path:
    """`reals.png`: a sheet of real images, arranged as the samples are."""
    return run / "reals.png"


def state_path(run: Path) -> Path:
    """`state.safetensors`: all that the run needs to go on."""
    return run / STATE


def previous_state_path(run: Path) -> Path:
    """`state-previous.safetensors`: the state before, for when the newest one is damaged."""
    return run / PREVIOUS_STATE


def has_state(run: Path) -> bool:
    """Whether a run folder holds a state, whole or not."""
    return state_path(run).exists() or previous_state_path(run).exists()


def resolve(text: str, outdir: Path | str) -> Resumable:
    """What `--resume` means: "latest" (in `outdir`), a run folder, or a state file in one.

    Raises FileNotFoundError when there is no such thing, and ValueError when a run cannot go on from it.
    """
    if text == "latest":
        return _newest_of(Path(outdir))
    if not text:
        raise ValueError('--resume is empty: give a run folder or "latest"')
    path = Path(text)
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise FileNotFoundError(f'there is no {path} to resume: give a run folder, a state file in it, or "latest"')
    if path.name == STATE:
        return _of_folder(path.parent)
    if path.name == PREVIOUS_STATE:
        return Resumable(path.parent, path, None)
    raise ValueError(
        f"{path} is not the state of a run: resume from a run folder or its {STATE} "
        "(a network alone can start a new run with --transfer)"
    )


class StatsFile:
    """`stats.jsonl`: one JSON object a line, each with `seen`, the number of real images shown."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, seen: int, record: Mapping[str, Any]) -> None:
        """Adds one line. JSON has no nan and no infinity: they are written as null."""
        line = json.dumps({"seen": seen} | {key: _sayable(value) for key, value in record.items()})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def amend(self, seen: int, record: Mapping[str, Any]) -> None:
        """Adds what was found out later about the moment of the last line; about another moment, a line of its own."""
        last, start = self._last()
        if last.get("seen") != seen:
            self.append(seen, record)
            return
        with self.path.open("r+b") as file:
            file.truncate(start)
        self.append(seen, {name: value for name, value in last.items() if name != "seen"} | dict(record))

    def _last(self) -> tuple[dict[str, Any], int]:
        """The last line and where it starts; empty where it was cut short."""
        if not self.path.exists():
            return {}, 0
        with self.path.open("rb") as file:
            last, end = b"", 0
            for line in file:
                last, end = line, end + len(line)
        try:
            found = json.loads(last)
        except ValueError:
            found = None
        return (found, end - len(last)) if isinstance(found, dict) else ({}, end)

    def rewind(self, seen: int) -> None:
        """Drops what lies after `seen` images, and a last line that was cut short, so that a resumed run goes on."""
        if self.path.exists():
            kept = [json.dumps(record) + "\n" for record in self.read() if record["seen"] <= seen]
            with replacing(self.path) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")

    def read(self) -> Iterator[dict[str, Any]]:
        """The records that are whole, in order."""
        return (record for record in json_lines(self.path) if isinstance(record.get("seen"), int))


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of one JSON object a line, in order; lines that are none, or cut short, are passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            yield found


class Log:
    """Says lines on the terminal and keeps them in a file (`log.txt`), after those of earlier sessions."""

    def __init__(self, path: Path | str, terminal: IO[str] | None = None) -> None:
        """`terminal` is standard output unless given."""
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 (closed by `close`)
        self._terminal = terminal

    def __call__(self, text: str = "") -> None:
        self.keep(text)
        # Looked up at each line: whoever captures standard output later shall have the line too. When its reader has
        # gone, or its disk is full, the run goes on.
        put(f"{text}\n", self._terminal or sys.stdout)

    def keep(self, text: str) -> None:
        """A line for the file alone. Control characters are spelled out."""
        self._file.write(f"{harmless(text)}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _numbered(outdir: Path) -> list[tuple[int, Path]]:
    if not outdir.is_dir():
        return []
    found = ((_RUN.fullmatch(path.name), path) for path in outdir.iterdir() if path.is_dir())
    return [(int(match[1]), path) for match, path in found if match]


def _kimg(seen: int) -> str:
    tenths = seen // 100  # whole numbers: a float would round some names up, some down
    return f"{tenths // 10:06d}.{tenths % 10}"


def _newest_of(outdir: Path) -> Resumable:
    """The highest-numbered run that can be resumed; a start that failed leaves a folder without a state."""
    numbered = sorted(_numbered(outdir), reverse=True)
    for _, run in numbered:
        if has_state(run):
            return _of_folder(run)
    if numbered:
        raise FileNotFoundError(f"no run in {outdir} came as far as its first saved state: start anew")
    raise FileNotFoundError(f"there is no run in {outdir} to resume: give its folder, or another --outdir")


def _of_folder(run: Path) -> Resumable:
    if not has_state(run) and _numbered(run):
        raise FileNotFoundError(f"{run} is a folder of runs: give one of them, or --resume latest --outdir {run}")
    if not has_state(run):
        raise FileNotFoundError(f"{run} holds no {STATE}: the run stopped before it was first saved; start it anew")
    return Resumable(run, state_path(run), previous_state_path(run))


def _sayable(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
