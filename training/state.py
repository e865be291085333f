"""The saved state of a run: read, and compared with the networks and optimizers of its configuration before use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from system.text import printable
from torch_utils import checkpoint, runs
from torch_utils import config as configs
from torch_utils.checkpoint import DamagedError
from torch_utils.journal import LARGEST_COUNT
from training.config import RunConfig
from training.courses import find, name_in, outline
from training.run import VERSION, Clock

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Name = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
FourNumbers = Annotated[list[float], Field(min_length=4, max_length=4)]


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


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Clock(_Exact):
    iteration: Count
    seen: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Statistics(_Exact):
    names: Annotated[list[Name], Field(max_length=10_000)]  # a run has about thirty
    sums: Any
    host: dict[Name, FourNumbers]


class _Tree(_Exact):
    recipe: Any
    clock: _Clock
    stats: _Statistics


@dataclass
class State:
    """A checked state. `tree` is emptied once it is loaded, since its tensors are as large as the run's own."""

    path: Path
    tree: dict[str, Any]
    facts: SavedFacts
    config: RunConfig
    digest: str
    note: str  # one sentence if the newest file could not be used

    @property
    def clock(self) -> Clock:
        return Clock(**self.tree["clock"])


def read_state(where: runs.Resumable) -> State:
    """Read the newest state that is whole, and check all that is in it.

    Raises:
        FileNotFoundError, ValueError: there is none, the file is of another version or program, or its contents do not
            fit its own configuration.
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
        course.check_state(checked.recipe, outline(config), checked.clock.iteration > 0)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(printable(str(part), 40) for part in first["loc"]) or "tree"
        raise DamagedError(path, f"its {place} is not what a state has: {first['msg'].lower()}") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise DamagedError(path, why) from error
    return State(path, tree, facts, config, checkpoint.digest(path), loaded.note)


def _check_statistics(stats: _Statistics, world: int) -> None:
    """Open statistics are sums: four numbers of each process and name, and four of each name of the host's own."""
    names, sums = [*stats.names, *stats.host], stats.sums
    if len(set(names)) < len(names):
        raise ValueError("stats.names and stats.host have a name twice")
    if not isinstance(sums, torch.Tensor) or sums.dtype not in (torch.float64, torch.float32):
        raise ValueError("stats.sums is not a tensor of float64 or float32")
    if sums.shape != (world, len(stats.names), 4):
        raise ValueError(f"stats.sums has shape {list(sums.shape)}, expected {[world, len(stats.names), 4]}")
    host = torch.tensor(list(stats.host.values()), dtype=torch.float64).reshape(-1, 4)
    counts = torch.cat([sums.reshape(-1, 4).double(), host])[:, [0, 3]]
    if not bool(((counts >= 0) & (counts <= LARGEST_COUNT) & (counts == counts.round())).all()):
        raise ValueError("stats has a count of values that is not a whole number of at least 0")
