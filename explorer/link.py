"""The server's side of the renderer: starts its process, hands requests over, and starts it again if it dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from explorer import renderer, studio
from explorer.gallery import Gallery
from explorer.pagestate import Scene
from torch_utils.cli import say
from torch_utils.device import Precision

DIED = "the process that computes pictures ended, perhaps for lack of memory, and was started again: try once more"


Answers = asyncio.Queue[tuple[dict[str, Any], bytes]]


class Link:
    """A renderer process and the clients that wait for its answers."""

    def __init__(
        self, place: str, values: Mapping[str, Any], device: str, precision: Precision, more: Sequence[str] = ()
    ) -> None:
        self.arguments = (place, dict(values), device, precision, tuple(more))
        self.work: tuple[Callable[..., None], tuple[Any, ...]] = renderer.serve, self.arguments  # of the process
        self._numbers = itertools.count(1)
        self._clients: dict[int, tuple[asyncio.AbstractEventLoop, Answers]] = {}
        self._lock = threading.Lock()
        self.ended = False

    def start(self) -> None:
        """Open the network. Raise ValueError, in one sentence, if it cannot be opened."""
        self.about, self.scene = self._begin()
        threading.Thread(target=self._listen, daemon=True).start()

    def _begin(self) -> tuple[dict[str, Any], Scene]:
        context = multiprocessing.get_context("spawn")  # threads of PyTorch do not survive a fork
        self._pipe, theirs = context.Pipe()
        target, arguments = self.work
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        try:
            kind, *rest = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ValueError("the process that computes pictures could not start: stop other programs") from error
        if kind == "refused":
            raise ValueError(rest[0])
        return rest[0], rest[1]

    def stop(self) -> None:
        """End the process."""
        self.ended = True
        with self._lock, suppress(OSError):
            self._pipe.close()
        self.process.terminate()
        self.process.join(5)

    def _listen(self) -> None:
        """Give answers to the clients' queues, in a thread of its own."""
        while not self.ended:
            try:
                client, told, data = self._pipe.recv()
            except (EOFError, OSError):
                if not self.ended:
                    self._again()
                continue
            self._hand(client, json.loads(told), data)

    def _again(self) -> None:
        say("note: the process that computes pictures ended, and is started again")
        try:
            with self._lock:
                self._begin()
        except ValueError as error:
            say(f"error: {error}")
            self.ended = True
        told = "the process that computes pictures cannot be started: see the terminal" if self.ended else DIED
        for client in list(self._clients):
            self._hand(client, {"error": told, "again": not self.ended}, b"")

    def _hand(self, client: int, told: dict[str, Any], data: bytes) -> None:
        if client in self._clients:
            loop, queue = self._clients[client]
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(queue.put_nowait, (told, data))

    def join(self, answers: Answers | None = None) -> tuple[int, Answers]:
        """A new client's number, and the queue that its answers come by: the given one, or a new one."""
        client, queue = next(self._numbers), Answers() if answers is None else answers
        self._clients[client] = asyncio.get_running_loop(), queue
        return client, queue

    def leave(self, client: int) -> None:
        """Forget a client, and what it waits for."""
        self._clients.pop(client, None)
        self._send("gone", client)

    def ask(self, client: int, asked: studio.Asked) -> None:
        """Ask for a picture. A newer request for the same slot replaces it."""
        self._send("ask", client, asked)

    def save(self, client: int, state: str) -> None:
        """Ask for the PNG of a state, with the settings in it."""
        self._send("save", client, state)

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    def _send(self, *message: Any) -> None:
        with self._lock, suppress(OSError):  # a process that has died is noticed by `_listen`
            self._pipe.send(message)


class EaselLink(Link):
    """A renderer process of a network that restyles pictures."""

    def __init__(self, place: str, gallery: Gallery, device: str, more: Sequence[str]) -> None:
        super().__init__(place, {}, device, "fp32", more)
        self.work = renderer.serve_easel, (place, gallery, device, tuple(more))


def packed(told: Mapping[str, Any], data: bytes) -> bytes:
    """An answer as one binary message: length of the header, big-endian in 4 bytes, header as JSON, picture."""
    text = json.dumps(told).encode()
    return struct.pack(">I", len(text)) + text + data
