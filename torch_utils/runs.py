"""Run folders such as `runs/00000-ffhq-auto`, and the names of the files in them."""

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from system.text import public
from torch_utils.journal import check_plain

STATE = "state.safetensors"  # everything needed to resume the run
PREVIOUS_STATE = "state-previous.safetensors"  # in case the newest state is damaged
REALS = "reals.png"  # a sheet of real images
STATE_FORMAT = "training-state"  # in the metadata of a state

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
        with contextlib.suppress(FileExistsError):
            claim.mkdir()
            if [other for other, _ in _numbered(outdir)].count(number) == 1:
                return claim.rename(outdir / f"{number:05d}-{name}")
            claim.rmdir()


def latest(outdir: Path | str) -> Path | None:
    """Return the run folder with the highest number; None if there is no run."""
    return max(_numbered(Path(outdir)), default=(0, None))[1]


def newest_network(outdir: Path | str) -> Path | None:
    """Return the last network of the highest-numbered run that has one; None if there is no network."""
    newest = (newest_in(run) for _, run in sorted(_numbered(Path(outdir)), reverse=True))
    return next(filter(None, newest), None)


def newest_in(run: Path) -> Path | None:
    """Return the network of a run that has seen the most images; None if there is no network."""
    networks = [(float(found[1]), path) for path in run.iterdir() if (found := _NETWORK.fullmatch(path.name))]
    return max(networks, default=(0.0, None))[1]


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
            what = f"no run in {outdir} has saved a state: start a new run"
            lost = f"there is no run in {outdir} to resume: give its folder, or another --outdir"
            raise FileNotFoundError(what if numbered else lost)
        path = found
    if not path.exists():
        raise FileNotFoundError(
            f'there is no {public(text)} to resume: give a run folder, a state file in it, or "latest"; '
            f"to start a new run from a network, give --transfer {public(text)}"
        )
    if not path.is_dir() and path.name not in (STATE, PREVIOUS_STATE):
        raise ValueError(
            f"{path} is not the state of a run: give a run folder or its {STATE} (to start a new run from a network, "
            "give --transfer)"
        )
    run = path if path.is_dir() else path.parent
    if not has_state(run):
        many = f"{run} is a folder of runs: give one of them, or --resume latest --outdir {run}"
        none = f"{run} has no {STATE}: the run stopped before saving a state; start a new run"
        raise FileNotFoundError(many if _numbered(run) else none)
    check_plain(run)
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
