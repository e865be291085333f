"""The process that computes pictures, one at a time; the newest request of each place in the page wins.

Over its pipe come `("ask", client, message)`, `("save", client, state)` and `("gone", client)`; it answers
`(client, header, bytes)`, where the header is the JSON of `studio.header`, of an error, or of a saved picture.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from explorer import workprocess
from explorer.easel import collage_of, open_easel
from explorer.filming import Preview
from explorer.gallery import Gallery
from explorer.pagestate import read_state
from explorer.shelf import Shelf
from explorer.studio import Asked, header, open_studio
from torch_utils.cli import say
from torch_utils.device import Precision, is_out_of_memory

LOOK = 0.002  # seconds between two looks for newer requests
PATIENCE = 0.1  # seconds without a picture, from which a draft is finished although a newer one waits
SAVING = 250  # the slot of pictures to save: after those that somebody waits for
AHEAD = 251  # the slot of pictures that nobody waits for yet


Find = Callable[[Any], tuple[Any, Any]]  # request -> its Studio or Easel, and the request as this network takes it


class SupersededError(Exception):
    """Nobody waits any longer for what is being computed."""


class Waiting:
    """Requests that wait: the newest of each client and slot."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.asked: dict[tuple[int, int], Asked | str] = {}  # a str is the state to save
        self.job: tuple[int, int] | None = None  # in work
        self.work: Asked | str | None = None
        self.looked = self.sent = 0.0

    def read(self, wait: bool) -> None:
        """Read the messages that have arrived; with `wait` at least one. EOFError when the server has ended."""
        while self.pipe.poll(None if wait else 0):
            kind, client, *rest = self.pipe.recv()
            if kind == "gone":
                self.asked = {key: asked for key, asked in self.asked.items() if key[0] != client}
                self.job = None if self.job and self.job[0] == client else self.job
            elif kind == "save":
                self.asked[client, SAVING] = rest[0]
            else:
                self.asked[client, AHEAD if rest[0].near is not None else rest[0].slot] = rest[0]
            wait = False

    def take(self) -> tuple[int, Asked | str]:
        """The next request to answer: pictures before their children, else the oldest."""
        while not self.asked:
            self.read(wait=True)
        self.job = min(self.asked, key=lambda key: key[1])
        asked = self.asked.pop(self.job)
        self.work = asked
        return self.job[0], asked

    def look(self, *ignored: Any) -> None:
        """Called before every module of a network: raise SupersededError if the work is no longer wanted."""
        if (now := time.perf_counter()) - self.looked < LOOK:
            return
        self.looked = now
        self.read(wait=False)
        if self.job is None:
            raise SupersededError
        newer, preferred = self.asked.get(self.job), any(slot < self.job[1] for _, slot in self.asked)
        if preferred or (newer is not None and not self._is_worth(newer, now)):
            raise SupersededError

    def _is_worth(self, newer: Asked | str, now: float) -> bool:
        """Whether a draft is finished although a newer request waits: nobody would see a picture otherwise."""
        if not (isinstance(self.work, Asked) and isinstance(newer, Asked) and self.work.draft):
            return False
        same = (newer.state, newer.collage) == (self.work.state, self.work.collage)
        return same or (newer.draft and now - self.sent > PATIENCE)


def serve(
    pipe: Connection, place: str, values: Mapping[str, Any], device: str, precision: Precision, more: Sequence[str]
) -> None:
    """Open a network and answer requests until the pipe closes: the target of a process."""
    workprocess.begin()
    try:
        studio = open_studio(place, values, torch.device(device), precision, more)
    except (OSError, ValueError) as error:
        pipe.send(("refused", str(error)))
        return
    _answer_all(pipe, studio.about, studio.scene, lambda asked: (studio, asked))


def serve_easel(pipe: Connection, place: str, gallery: Gallery, device: str, more: Sequence[str]) -> None:
    """Open a network that restyles pictures and answer requests: the target of a process."""
    workprocess.begin()
    try:
        easel = open_easel(place, gallery, torch.device(device), more)
    except (OSError, ValueError) as error:
        pipe.send(("refused", str(error)))
        return
    _answer_all(pipe, easel.about, None, lambda asked: (easel, collage_of(asked)))


def serve_others(pipe: Connection, device: str, threads: tuple[int | None, bool]) -> None:
    """Answer requests for other networks: the target of a process."""
    workprocess.begin()
    _answer_all(pipe, {}, None, Shelf(device, threads).find)


def _answer_all(pipe: Connection, about: Any, scene: Any, find: Find) -> None:
    with suppress(EOFError, BrokenPipeError, ConnectionError):
        pipe.send(("ready", about, scene))
        _answer(find, Waiting(pipe))


def _answer(find: Find, waiting: Waiting) -> None:
    """Answer what waits, with the network that `find` finds for a request."""
    register_module_forward_pre_hook(waiting.look)  # of every module of every network in this process
    preview = Preview()
    while True:
        client, asked = waiting.take()
        try:
            studio, fit = find(asked)
            if isinstance(fit, Asked) and fit.near is not None:
                for _ in studio.ahead(fit):
                    waiting.look()
            elif isinstance(asked, Asked):
                for made in studio.pictures(fit) if fit.film is None else [preview.picture(studio, fit)]:
                    waiting.pipe.send((client, header(fit, made, studio), made.data))
                    waiting.sent = time.perf_counter()
                    if made.share < 1:
                        waiting.looked = 0.0
                        waiting.look()
            else:
                waiting.pipe.send((client, json.dumps({"saved": True}).encode(), studio.saved(read_state(asked))))
        except SupersededError:
            if waiting.job is not None:
                waiting.asked.setdefault(waiting.job, asked)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            if isinstance(error, EOFError | BrokenPipeError | ConnectionError):
                raise
            if not (isinstance(asked, Asked) and asked.near is not None):
                waiting.pipe.send((client, json.dumps(_refusal(asked, error)).encode(), b""))


def _refusal(asked: Asked | str, error: Exception) -> dict[str, Any]:
    text = str(error)
    if is_out_of_memory(error):
        text = workprocess.OUT_OF_MEMORY
    elif isinstance(error, RuntimeError):
        text = f"the picture could not be computed ({text.splitlines()[0] if text else type(error).__name__})"
        say(f"error: {text}")
    about = {"number": asked.number, "slot": asked.slot} if isinstance(asked, Asked) else {"saved": False}
    return {**about, "error": text}
