"""Run folders: `runs/00000-ffhq-auto` and the names of what lies in them."""

import re
from pathlib import Path
from typing import NamedTuple

from system.urls import public
from torch_utils.journal import check_plain

STATE = "state.safetensors"
PREVIOUS_STATE = "state-previous.safetensors"
STATE_FORMAT = "training-state"  # what a state's metadata call it

_RUN = re.compile(r"([0-9]{5,18})(-.*)?")
_NETWORK = re.compile(r"network-([0-9]{6,18}\.[0-9])\.safetensors")


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


def is_network_name(name: object) -> bool:
    """Whether a value out of a file is what `network_path` calls a network: a name in the run folder, and no path."""
    return isinstance(name, str) and _NETWORK.fullmatch(name) is not None


def samples_path(run: Path, seen: int) -> Path:
    """`fakes-000200.0.png`: the sample sheet after `seen` images, in thousands with one decimal, of any model."""
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

    Raises FileNotFoundError when there is no such thing, and ValueError when a run cannot go on from it, or when its
    folder holds a link or anything else that is no plain file.
    """
    if text == "latest" or (text.lower() == "latest" and not Path(text).exists()):
        return _newest_of(Path(outdir))
    if not text:
        raise ValueError('--resume is empty: give a run folder or "latest"')
    path = Path(text)
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise FileNotFoundError(
            f'there is no {public(text)} to resume: give a run folder, a state file in it, or "latest"; '
            f"a network starts a new run, with --transfer {public(text)}"
        )
    if path.name == STATE:
        return _of_folder(path.parent)
    if path.name == PREVIOUS_STATE:
        check_plain(path.parent)
        return Resumable(path.parent, path, None)
    raise ValueError(
        f"{path} is not the state of a run: resume from a run folder or its {STATE} "
        "(a network alone can start a new run with --transfer)"
    )


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
    check_plain(run)
    return Resumable(run, state_path(run), previous_state_path(run))
