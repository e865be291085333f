"""The state of a run as its file tells it: read, and checked key by key before anything is made of it.

A digest proves who wrote a file last, not that its contents fit. So shapes, types and numbers are compared with the
networks, averages and optimizers that the run's configuration describes; those are built without memory for it.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError

from system.text import printable
from torch_utils import checkpoint, distributed, runs
from torch_utils import config as configs
from torch_utils.checkpoint import DamagedError
from torch_utils.journal import LARGEST_COUNT, is_count
from training.moments import check_moments
from training.run import VERSION, Clock
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2

MOST_NAMES = 10_000  # statistics in a state; a run has about thirty


class Data(BaseModel):
    """What a state says of the data it was trained on."""

    fingerprint: StrictStr
    images: Annotated[StrictInt, Field(ge=1)]
    class_names: list[StrictStr]


class Facts(BaseModel):
    """What a state says of itself besides its tensors."""

    version: Annotated[StrictInt, Field(ge=1)]
    world: Annotated[StrictInt, Field(ge=1, le=2**20)]
    operators: StrictStr
    torch: Annotated[StrictStr, Field(max_length=200)]
    processor: Annotated[StrictStr, Field(max_length=200)] | None = None  # older states do not say, nor the next
    threads: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None  # where a CPU trained
    training: dict[str, Any]
    data: Data


@dataclass
class State:
    """A checked state. `tree` is emptied once it is loaded, since its tensors are as large as the run's own."""

    path: Path
    tree: dict[str, Any]
    facts: Facts
    config: StyleGAN2Config
    digest: str
    note: str  # one sentence where the newest file could not be used

    @property
    def clock(self) -> Clock:
        return Clock(**self.tree["clock"])


def read_state(where: runs.Resumable) -> State:
    """Reads the newest state that is whole, and checks all that is in it.

    Raises:
        FileNotFoundError, ValueError: when there is none, it is not a training state that is known here, or what it
            holds does not fit its own configuration.
    """
    if where.previous is None:
        loaded = checkpoint.Loaded(*checkpoint.load(where.state), where.state, "")
    else:
        loaded = checkpoint.load_newest(where.state, where.previous)
    path, metadata = loaded.path, loaded.metadata
    version = metadata.get("version")
    if metadata.get("format") != runs.STATE_FORMAT or (type(version) is int and version > VERSION):
        raise ValueError(f"{path} is not a training state that this program knows: update the program")
    try:
        facts = Facts.model_validate(metadata)
        config = configs.from_dict(StyleGAN2Config, facts.training)
        tree = checkpoint.unpack(loaded.tensors, metadata.get("tree"))
        checkpoint.check_keys(tree, {"recipe", "clock", "stats"}, "the state")
        if len(checkpoint.pack(tree)[0]) != len(loaded.tensors):
            raise ValueError("it has tensors that its tree of names does not name, or names twice")
        _check_clock(tree["clock"], config.pace.batch)
        _check_statistics(tree["stats"], facts.world)
        _check_recipe(tree["recipe"], _recipe(config), begun=tree["clock"]["iteration"] > 0)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(printable(str(part), 40) for part in first["loc"])
        raise DamagedError(path, f"its {place} is not what a state has: {first['msg'].lower()}") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise DamagedError(path, why) from error
    return State(path, tree, facts, config, checkpoint.digest(path), loaded.note)


def _recipe(config: StyleGAN2Config) -> StyleGAN2:
    """The networks and optimizers of a configuration, as shapes without memory."""
    try:
        with distributed.alone(), torch.device("meta"):
            return StyleGAN2(config, torch.ones(0, device="cpu"), torch.device("meta"))
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond what PyTorch can count
        raise ValueError("no network has the sizes of its configuration") from error


def _check_recipe(state: Any, recipe: StyleGAN2, begun: bool) -> None:
    """Makes sure that what was learned is that of a recipe's networks and optimizers.

    `begun` says whether a step has been taken; before it the optimizers hold nothing.
    """
    model: dict[str, Any] = recipe.state_dict()
    if isinstance(state, dict) and "strength" not in state:  # states from before there were augmentations
        del model["strength"]
    checkpoint.check_keys(state, model, "recipe")
    optimizers = state["optimizers"]
    checkpoint.check_keys(optimizers, model.pop("optimizers"), "recipe.optimizers")
    checkpoint.check_alike({name: state[name] for name in model}, model, "recipe")
    for name, optimizer in recipe.optimizers.items():
        if begun or optimizers[name] != {}:
            check_moments(optimizer, optimizers[name], f"recipe.optimizers.{name}")
    if not bool(state["path_mean"].isfinite()):
        raise ValueError("recipe.path_mean is not finite")
    if "strength" in state:
        p, signs = state["strength"]["p"], state["strength"]["signs"]
        if not (0 <= float(p) <= 1 and bool(signs.isfinite().all())):
            raise ValueError("recipe.strength is not a probability and two finite numbers")
    if any(bool((skips < 0).any()) for skips in state["skips"].values()):
        raise ValueError("recipe.skips has a count below 0")


def _check_clock(clock: Any, batch: int) -> None:
    """Makes sure that the place in time is one that a run of this batch comes by."""
    checkpoint.check_keys(clock, {field.name for field in fields(Clock)}, "clock")
    for name in ("iteration", "seen"):
        if not is_count(clock[name]):
            raise ValueError(f"clock.{name} is {_spelled(clock[name])}, expected a whole number from 0 to 2**53")
    if clock["seen"] != clock["iteration"] * batch:
        raise ValueError(f"clock.seen is {clock['seen']}, expected {clock['iteration']} iterations of {batch} images")
    seconds = clock["seconds"]
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"clock.seconds is {_spelled(seconds)}, expected a number of at least 0")


def _check_statistics(stats: Any, world: int) -> None:
    """Makes sure that the open statistics are sums: of each process and name four, and four more for host's names."""
    checkpoint.check_keys(stats, {"names", "sums", "host"}, "stats")
    names, sums, host = stats["names"], stats["sums"], stats["host"]
    if not isinstance(names, list) or not isinstance(host, dict) or len(names) + len(host) > MOST_NAMES:
        raise ValueError(f"stats.names and stats.host are not lists of at most {MOST_NAMES} names")
    every = [*names, *host]
    if not all(isinstance(name, str) and name == printable(name, 200) for name in every) or len(set(every)) < len(
        every
    ):
        raise ValueError("stats.names and stats.host are not different names")
    if not isinstance(sums, torch.Tensor) or sums.dtype not in (torch.float64, torch.float32):
        raise ValueError("stats.sums is not a tensor of float64 or float32")
    if sums.shape != (world, len(names), 4):
        raise ValueError(f"stats.sums has shape {list(sums.shape)}, expected {[world, len(names), 4]}")
    rows = [torch.tensor(_four_numbers(name, row), dtype=torch.float64) for name, row in host.items()]
    counts = torch.cat([sums.reshape(-1, 4).double(), *(row[None] for row in rows)])[:, [0, 3]]
    if not bool(((counts >= 0) & (counts <= LARGEST_COUNT) & (counts == counts.round())).all()):
        raise ValueError("stats has a count of values that is not a whole number of at least 0")


def _four_numbers(name: str, row: Any) -> list[float]:
    if not isinstance(row, list) or len(row) != 4 or not all(isinstance(number, int | float) for number in row):
        raise ValueError(f"stats.host.{name} is not four numbers")
    try:
        return [float(number) for number in row]
    except OverflowError as error:
        raise ValueError(f"stats.host.{name} is not four numbers") from error


def _spelled(value: Any) -> str:
    """A foreign value, if it is a number of few digits; else its type."""
    short = isinstance(value, float | bool) or (isinstance(value, int) and abs(value) < 10**20)
    return str(value) if short else printable(value, 40)
