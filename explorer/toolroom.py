"""Tasks of the page are done one at a time, in a process of their own, so that sliders stay live.

POST /tool        a `Task`: the answer is its result, or `{"error": sentence}`
GET  /tool        how far it is
GET  /tool/seen   the last picture on the way, if the task makes pictures
POST /tool/stop   end it
"""

import asyncio
import multiprocessing
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from explorer import workprocess
from explorer.bodies import LARGEST_UPLOAD, body, refused
from explorer.pagestate import parsed
from explorer.studio import open_studio
from explorer.tasks import Any_Task, Bench, StoppedError, Task, open_bench
from torch_utils.device import is_out_of_memory

NICE = 5  # tasks give way to the sliders
DIED = "the process that does this ended, perhaps for lack of memory: stop other programs, and try once more"
BUSY = "the last task is not done yet: wait for it, or stop it"
SEEN = "seen"  # key of a picture among the facts that a task tells


class ToolRoom:
    """A process for tasks, which is started by the first one. `arguments` are those of `open_studio`."""

    def __init__(self, arguments: tuple[Any, ...], name: str) -> None:
        self.arguments, self.name = arguments, name
        self.told: dict[str, Any] = {"busy": False}
        self.seen = b""
        self._process: Any = None
        self._pipe: Any = None
        self._working, self._sending = threading.Lock(), threading.Lock()

    def routes(self) -> list[Route]:
        """The answers to the page."""
        return [
            Route(f"/{self.name}", self.progress),
            Route(f"/{self.name}", self.perform, methods=["POST"]),
            Route(f"/{self.name}/seen", self.picture),
            Route(f"/{self.name}/stop", self.stop, methods=["POST"]),
        ]

    def progress(self, request: Request) -> Response:
        """How far the task is: `{"busy": true, "share": 0.4}`."""
        return JSONResponse(self.told)

    def picture(self, request: Request) -> Response:
        """The last picture on the way."""
        return Response(self.seen, 200 if self.seen else 404, media_type="image/png")

    async def perform(self, request: Request) -> Response:
        """Do a task. A picture may follow its JSON: the first line is the task then."""
        try:
            text, _, data = (await body(request, LARGEST_UPLOAD)).partition(b"\n")
            task = parsed(Task, text, "the task").task
        except ValueError as error:
            return refused(error)
        try:
            return JSONResponse(await asyncio.to_thread(self.work, task, data))
        except ValueError as error:
            return JSONResponse({"error": str(error)})

    async def stop(self, request: Request) -> Response:
        """Ask the task to end with what it has."""
        with self._sending, suppress(OSError, AttributeError):
            self._pipe.send(None)
        return JSONResponse(self.told)

    def work(self, task: Any_Task, data: bytes = b"") -> dict[str, Any]:
        """Do a task in the process; blocks until it is done. Raises ValueError, in a sentence, if it fails."""
        if not self._working.acquire(blocking=False):
            raise ValueError(BUSY)
        try:
            self.told, self.seen = {"busy": True, "do": task.do}, b""
            if self._process is None or not self._process.is_alive():
                self._start()
            with self._sending:
                self._pipe.send((task, data))
            while True:
                kind, facts = self._pipe.recv()
                if kind == "told":
                    self.seen = facts.pop(SEEN, self.seen)
                    self.told = {**self.told, **facts}
                elif kind == "failed":
                    raise ValueError(facts)
                else:
                    return dict(facts)
        except (EOFError, OSError) as error:
            raise ValueError(DIED) from error
        finally:
            self.told = {"busy": False}
            self._working.release()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.arguments), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(5)


def serve(pipe: Connection, arguments: tuple[Any, ...]) -> None:
    """Do tasks until the pipe closes: the target of a process."""
    workprocess.begin(NICE)
    place, values, device, precision, more = arguments
    bench: Bench | None = None

    def tell(facts: dict[str, Any]) -> None:
        pipe.send(("told", facts))
        if pipe.poll() and pipe.recv() is None:
            raise StoppedError

    with suppress(EOFError, BrokenPipeError, ConnectionError):
        while True:
            message = pipe.recv()
            if message is None:  # to stop a task that has ended
                continue
            try:
                if bench is None:
                    bench = open_bench(open_studio(place, values, torch.device(device), precision, more))
                task, data = message
                pipe.send(("done", bench.perform(task, data, tell)))
            except StoppedError:
                pipe.send(("failed", "stopped"))
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                if isinstance(error, BrokenPipeError | ConnectionError):
                    raise
                pipe.send(("failed", _sentence(error)))


def _sentence(error: Exception) -> str:
    if is_out_of_memory(error):
        return workprocess.OUT_OF_MEMORY
    text = str(error).splitlines()
    return (
        text[0]
        if text and not isinstance(error, RuntimeError)
        else f"it could not be computed ({type(error).__name__})"
    )
