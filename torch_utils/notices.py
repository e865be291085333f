"""Notices that the processes of one launch leave for one another, and for those that take their place after a restart.

They are in torchrun's TCPStore, which exists before the process group and survives restarts. Where there is no such
store, or it does not answer, a notice is read by its writer alone.
"""

import os
import time
import uuid
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import torch.distributed as dist

PATIENCE = timedelta(seconds=10)  # of one question to the store
ROOM = "stylegan2"  # a part of the store that PyTorch does not use


def together() -> bool:
    """Whether this process was started along with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def number() -> int:
    """The number of this process among them, also before they have met."""
    return int(os.environ.get("RANK", "0"))


def attempt() -> int:
    """How often `torchrun` has started the processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def outlasting() -> bool:
    """Whether the store is torchrun's own, which is there before the processes and after them."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leave(name: str, text: str) -> str:
    """Leaves a notice unless there is one of that name; returns the text that stands, and stays."""
    try:
        return _store().compare_set(name, "", text).decode()
    except (RuntimeError, KeyError, ValueError):  # nobody answers, or torchrun has not said where to ask
        return text


def read(name: str) -> str | None:
    """The text of a notice; None where there is none, as always without `torchrun`."""
    if not outlasting():
        return None
    try:
        return _store().get(name).decode() if _store().check([name]) else None
    except (RuntimeError, KeyError, ValueError):
        return None


class FirstError(NamedTuple):
    """What ended a run: the number of the process that failed, the exit status for all, and the error."""

    process: int
    status: int
    text: str


def first_error(error: Exception) -> FirstError:
    """The error that ended the run, as far as is known: this one, unless another process has failed before.

    What fails afterwards mostly does so because of it.
    """
    mine = FirstError(number(), 2 if isinstance(error, ValueError | OSError) else 1, f"{type(error).__name__}: {error}")
    if not together():
        return mine
    told = leave(f"error of attempt {attempt()}", " ".join(map(str, mine)))
    process, status, text = told.split(" ", 2)
    return FirstError(int(process), int(status), text)


def meet(patience: timedelta) -> dist.Store:
    """A part of the store that belongs to the processes that live now, once all of them have come.

    After a restart, torchrun's store still holds the addresses of the processes that died, and connecting to one would
    hang. So rank 0 publishes the list of processes that are alive now, and the list is used only once every process on
    it has confirmed it.

    Raises:
        TimeoutError: when some do not come.
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
        f"{missing or 'some'} of the {world} processes have not come in {patience.total_seconds() / 60:g} minutes: "
        f"look at what the other machines say, and whether they reach this one"
    )


@cache
def _store() -> dist.Store:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=PATIENCE, wait_for_workers=False)
    return dist.PrefixStore(ROOM, store)
