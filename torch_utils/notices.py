"""Short texts that the processes of one launch share, also across restarts.

They are kept in torchrun's TCPStore, which exists before the process group and survives restarts. Without torchrun,
or if the store does not answer, a process only sees its own texts.
"""

import os
import time
import uuid
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import torch.distributed as dist

from system.cache import FOLDER

PATIENCE = timedelta(seconds=10)  # for one request to the store


def together() -> bool:
    """Whether this is one of several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def number() -> int:
    """The rank of this process, also before there is a process group."""
    return int(os.environ.get("RANK", "0"))


def attempt() -> int:
    """How often `torchrun` has restarted the processes."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def outlasting() -> bool:
    """Whether there is a store that outlives the processes: torchrun's."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leave(name: str, text: str) -> str:
    """Store a text unless one of that name exists; return the stored text, which may be another process's."""
    try:
        return _store().compare_set(name, "", text).decode()
    except (RuntimeError, KeyError, ValueError):  # no answer, or no address from torchrun
        return text


def read(name: str) -> str | None:
    """A stored text; None if there is none, as always without `torchrun`."""
    if not outlasting():
        return None
    try:
        return _store().get(name).decode() if _store().check([name]) else None
    except (RuntimeError, KeyError, ValueError):
        return None


class FirstError(NamedTuple):
    """The error that ended a run: the rank that failed, the exit status of all ranks, and the message."""

    process: int
    status: int
    text: str


def first_error(error: Exception) -> FirstError:
    """The first error of all processes: `error`, unless another process failed before. Later ones are consequences."""
    mine = FirstError(number(), 2 if isinstance(error, ValueError | OSError) else 1, f"{type(error).__name__}: {error}")
    if not together():
        return mine
    told = leave(f"error of attempt {attempt()}", " ".join(map(str, mine)))
    process, status, text = told.split(" ", 2)
    return FirstError(int(process), int(status), text)


def meet(patience: timedelta) -> dist.Store:
    """Wait for all processes; return a part of the store that only they use.

    After a restart, torchrun's store still holds the addresses of the processes that died, and connecting to one would
    hang. torchrun's own restart count does not help, since it differs between machines. So rank 0 publishes the list of
    processes that are alive now, and the list is used only once every process on it has confirmed it.

    Raises:
        TimeoutError: some processes did not come.
    """
    store, me, deadline = _store(), uuid.uuid4().hex, time.monotonic() + patience.total_seconds()
    world = int(os.environ["WORLD_SIZE"])
    places = [f"place {number}" for number in range(world)]
    store.set(places[number()], me)
    while time.monotonic() < deadline:
        if number() == 0 and store.check(places):
            store.set("list", ",".join(store.get(place).decode() for place in places))
        listed = store.get("list").decode() if store.check(["list"]) else ""
        if me in listed.split(","):
            store.set(f"{me} signed {listed}", "")
            if store.check([f"{other} signed {listed}" for other in listed.split(",")]):
                return dist.PrefixStore(listed, store)
        time.sleep(0.02)
    missing = world - sum(store.check([place]) for place in places)
    raise TimeoutError(
        f"{missing or 'some'} of the {world} processes did not start within {patience.total_seconds() / 60:g} minutes: "
        f"look at the output of the other machines, and check that they reach this one"
    )


@cache
def _store() -> dist.Store:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=PATIENCE, wait_for_workers=False)
    return dist.PrefixStore(FOLDER, store)  # PyTorch does not use this prefix
