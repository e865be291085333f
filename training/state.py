"""The saved state of a run: read, checked, saved in the background, and compared with the machine that resumes it."""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from custom_ops import build
from system.text import printable
from torch_utils import checkpoint, distributed, runs
from torch_utils import config as configs
from torch_utils.checkpoint import DamagedError
from torch_utils.runs import LARGEST_COUNT
from training.config import RunConfig
from training.courses import find, name_in, outline

VERSION = 1  # of states
ROUNDING = {"compile", "cuda_graphs", "deterministic"}  # settings that decide how numbers are rounded, at most

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Name = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
FourNumbers = Annotated[list[float], Field(min_length=4, max_length=4)]


class Clock(BaseModel):
    """The progress of training. Time is measured in images seen; iterations decide which phases are due."""

    model_config = ConfigDict(extra="forbid", strict=True)
    iteration: Count
    seen: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of training, over all sessions


class Data(BaseModel):
    """What a state says of an image set."""

    fingerprint: StrictStr
    images: Annotated[StrictInt, Field(ge=1)]
    class_names: list[StrictStr]


class SavedFacts(BaseModel):
    """The metadata of a state."""

    version: Annotated[StrictInt, Field(ge=1)]
    world: Annotated[StrictInt, Field(ge=1, le=2**20)]
    operators: StrictStr
    torch: Annotated[StrictStr, Field(max_length=200)]
    processor: Annotated[StrictStr, Field(max_length=200)] | None = None  # missing in older states
    threads: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None  # of a CPU; missing in older states
    training: dict[str, Any]
    data: Data
    sets: dict[str, Data] = {}  # further image sets


class _Statistics(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    names: Annotated[list[Name], Field(max_length=10_000)]  # a run has about thirty
    sums: Any
    host: dict[Name, FourNumbers]


class _Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    recipe: Any
    clock: Clock
    stats: _Statistics


@dataclass
class State:
    """A checked state. `tree` is emptied once it is loaded, since its tensors are as large as the run's own."""

    tree: dict[str, Any]
    facts: SavedFacts
    config: RunConfig
    digest: str
    clock: Clock
    note: str  # one sentence if the newest file could not be used


def read_state(where: runs.Resumable) -> State:
    """Read the newest state that is whole, and check all that is in it.

    Raises FileNotFoundError if there is none, ValueError if it is damaged or of another version.
    """
    loaded = checkpoint.load_newest(where.state, where.previous)
    path, metadata = loaded.path, loaded.metadata
    version = metadata.get("version")
    if metadata.get("format") != runs.STATE_FORMAT or (type(version) is int and version > VERSION):
        raise ValueError(f"{path} is not a training state that this program knows: update the program")
    try:
        facts = SavedFacts.model_validate(metadata)
        course = find(name_in(facts.training))
        config = configs.from_dict(course.config, facts.training)
        if set(facts.sets) != config.sets.keys() - {"data"}:
            raise ValueError(f"it describes the image sets {', '.join(facts.sets) or 'data alone'}, but has others")
        tree = checkpoint.unpack(loaded.tensors, metadata.get("tree"))
        checked = _Tree.model_validate(tree)
        if len(checkpoint.pack(tree)[0]) != len(loaded.tensors):
            raise ValueError("it has tensors that its tree of names does not name, or names twice")
        clock, batch = checked.clock, config.pace.batch
        if clock.seen != clock.iteration * batch:
            raise ValueError(f"clock.seen is {clock.seen}, expected {clock.iteration} iterations of {batch} images")
        _check_statistics(checked.stats, facts.world)
        outline(config).check_state(checked.recipe, clock.iteration > 0)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(printable(str(part), 40) for part in first["loc"]) or "tree"
        raise DamagedError(path, f"its {place} is not what a state has: {first['msg'].lower()}") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise DamagedError(path, why) from error
    return State(tree, facts, config, checkpoint.digest(path), clock, loaded.note)


def _check_statistics(stats: _Statistics, world: int) -> None:
    """Open statistics are sums: four numbers of each process and name, and four of each name of the host's own."""
    sums = stats.sums
    if set(stats.names) & set(stats.host) or len(set(stats.names)) < len(stats.names):
        raise ValueError("stats.names and stats.host have a name twice")
    dtype = torch.float32 if isinstance(sums, torch.Tensor) and sums.dtype == torch.float32 else torch.float64
    checkpoint.check_alike(sums, torch.empty(world, len(stats.names), 4, dtype=dtype, device="meta"), "stats.sums")
    host = torch.tensor(list(stats.host.values()), dtype=torch.float64).reshape(-1, 4)
    counts = torch.cat([sums.reshape(-1, 4).double(), host])[:, [0, 3]]
    if not bool(((counts >= 0) & (counts <= LARGEST_COUNT) & (counts == counts.round())).all()):
        raise ValueError("stats has a count of values that is not a whole number of at least 0")


class Saver:
    """Saves one checkpoint after another. On CUDA `save` only copies the tensors; a thread hashes and writes the copy.

    On a CPU the thread would slow training down, so `save` writes the file. An error of the thread is raised once, by
    the next call of `save`, `look` or `wait`. There is one copy at most, in pinned memory that is reused.
    """

    def __init__(self, device: torch.device) -> None:
        self.in_background = self._pinned = device.type == "cuda"
        self._copies: checkpoint.Tensors = {}
        self._pool = ThreadPoolExecutor(1, "saving")
        self._pending: Future[None] | None = None

    def save(self, path: Path, tensors: checkpoint.Tensors, metadata: Mapping[str, Any], previous: Path) -> None:
        """As `checkpoint.save`, after the previous save. In the background, return once the tensors are copied."""
        self.wait()
        if self.in_background:
            copies = self._copied(tensors)
            self._pending = self._pool.submit(checkpoint.save, path, copies, dict(metadata), previous)
        else:
            checkpoint.save(path, tensors, metadata, previous)

    def look(self) -> None:
        """Raise the error of a save that has failed, without waiting."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last save is on the disk; raise its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the last save, ignore its error, and end the thread."""
        self._pool.shutdown(wait=True)
        self._copies = {}

    def _copied(self, tensors: checkpoint.Tensors) -> checkpoint.Tensors:
        """Copies of the tensors, in the memory of the last copies where shape and dtype are the same."""
        last, self._copies = self._copies, {}
        for name, tensor in tensors.items():
            copy = last.pop(name, None)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype)
                with suppress(RuntimeError):  # the system may have no memory to pin
                    copy = copy.pin_memory() if self._pinned else copy
            self._copies[name] = copy.copy_(tensor.detach(), non_blocking=self._pinned)
        if self._pinned:
            torch.cuda.synchronize()
        return self._copies


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, and on a CPU its number of threads, which decides the order of sums."""
    if device.type == "cuda":
        return {"processor": f"a {torch.cuda.get_device_name(device)}"}
    if device.type != "cpu":
        return {"processor": device.type}
    return {"processor": f"a CPU with {torch.backends.cpu.get_cpu_capability()}", "threads": torch.get_num_threads()}


def rounding_notes(
    facts: SavedFacts, old: Mapping[str, Any], new: Mapping[str, Any], device: torch.device, model: type[RunConfig]
) -> list[str]:
    """A sentence for each reason why a resumed run rounds numbers differently than before.

    Also restores the number of threads of a run on a CPU, unless the user chose it. `old` and `new` are settings by
    dotted name, of the state and of the resumed run.
    """
    if device.type == "cpu" and facts.threads and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(facts.threads)
    before, now = facts.model_dump(), machine(device)
    now |= {"torch": torch.__version__, "operators": build.implementation(device), "world": distributed.world()}
    names = {"operators": "operators", "torch": "PyTorch", "world": "processes"}
    for name in sorted(ROUNDING):
        if name != "deterministic" or device.type == "cuda":  # other devices are always deterministic
            names[name] = configs.flag_of(model, name)
            before[name], now[name] = configs.spell(old[name]), configs.spell(new[name])
    changed = {names.get(name, name): (before[name], now[name]) for name in now if before[name] != now[name]}
    return [
        f"{name}: {printable(str(was), 100)} before, {is_} now: the run will not be the same to the last bit"
        for name, (was, is_) in changed.items()
        if was is not None
    ]
