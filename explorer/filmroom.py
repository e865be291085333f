"""Films are rendered one at a time, in a process of their own, so that the page stays live.

POST /film           a `Film`: begin
GET  /film           how far it is
POST /film/cancel    stop it
GET  /film/3         the third film as a file
"""

import errno
import itertools
import multiprocessing
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from explorer import workprocess
from explorer.bodies import body, refused
from explorer.filming import open_reel
from explorer.keyframes import Film, film_command
from explorer.pagestate import parsed
from explorer.studio import open_studio
from imaging.film import check_rate, write_film
from torch_utils.device import is_out_of_memory

KEPT = 3  # finished films, which can be fetched
KINDS = {".mp4": "video/mp4", ".gif": "image/gif", ".webp": "image/webp"}
NICE = 10  # films give way to the sliders
DIED = "the process that renders the film ended, perhaps for lack of memory: stop other programs, and render it again"


class FilmRoom:
    """The film that is rendered, and the last ones. `link` knows the network, as `Link`."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._folder = tempfile.TemporaryDirectory(prefix="explorer-films-", ignore_cleanup_errors=True)
        self._numbers = itertools.count(1)
        self._process: Any = None
        self.told: dict[str, Any] = {"film": 0, "state": "none"}
        self.files: dict[int, Path] = {}

    def routes(self) -> list[Route]:
        """The answers to the page."""
        return [
            Route("/film", self.progress),
            Route("/film", self.begin, methods=["POST"]),
            Route("/film/cancel", self.cancel, methods=["POST"]),
            Route("/film/{number:int}", self.file),
        ]

    def progress(self, request: Request) -> Response:
        """How far the film is: `{"film": 3, "state": "rendering", "done": 20, "count": 240}`."""
        return JSONResponse(self.told)

    async def begin(self, request: Request) -> Response:
        """Render a film."""
        try:
            film = parsed(Film, await body(request), "the film")
            check_rate(Path(film.file_name), "frames a second:", film.fps)
            if self.told["state"] == "rendering":
                raise ValueError("a film is being rendered: wait for it, or cancel it first")
            self.start(film)
            return JSONResponse({**self.told, "command": film_command(self._link.scene, film)})
        except ValueError as error:
            return refused(error)

    async def cancel(self, request: Request) -> Response:
        """Stop the film; what was written of it is removed."""
        self.stop()
        return JSONResponse(self.told)

    def file(self, request: Request) -> Response:
        """A finished film, to be saved by the browser."""
        path = self.files.get(request.path_params["number"])
        if path is None:
            return Response("there is no such film\n", 404, media_type="text/plain")
        return FileResponse(path, media_type=KINDS[path.suffix], filename=path.name)

    def start(self, film: Film) -> None:
        """Start the process."""
        number = next(self._numbers)
        path = Path(self._folder.name) / str(number) / film.file_name
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=render, args=(theirs, self._link.arguments, film, path), daemon=True)
        self._process.start()
        theirs.close()
        self.told = {"film": number, "state": "rendering", "done": 0, "count": 0, "name": path.name}
        threading.Thread(target=self._listen, args=(ours, self.told, path), daemon=True).start()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.told["state"] == "rendering":
            self.told["state"] = "canceled"
            self._process.terminate()

    def close(self) -> None:
        """End the process and remove all films."""
        self.stop()
        if self._process is not None:
            self._process.join(5)
        self._folder.cleanup()

    def _listen(self, pipe: Connection, told: dict[str, Any], path: Path) -> None:
        """Note what the process tells, until it ends."""
        with suppress(EOFError, OSError):
            while told["state"] == "rendering":
                told |= pipe.recv()
        pipe.close()
        if told["state"] == "rendering":
            told |= {"state": "failed", "error": DIED}
        if told["state"] == "done":
            self.files[told["film"]] = path
            for old in list(self.files)[:-KEPT]:
                shutil.rmtree(self.files.pop(old).parent, ignore_errors=True)
        else:
            self._process.join(5)
            shutil.rmtree(path.parent, ignore_errors=True)


def render(pipe: Connection, arguments: tuple[Any, ...], film: Film, path: Path) -> None:
    """Render a film, and tell how far it is: the target of a process."""
    workprocess.begin(NICE)
    place, values, device, precision, more = arguments
    try:
        studio = open_studio(place, values, torch.device(device), precision, more)
        reel = open_reel(studio, film)
        with studio.switched(), torch.no_grad():
            write_film(path, _counted(reel.frames(), len(reel.moments), pipe), film.fps)
        pipe.send({"state": "done", "bytes": path.stat().st_size})
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        if not isinstance(error, BrokenPipeError | ConnectionError):
            pipe.send({"state": "failed", "error": _sentence(error, path)})


def _counted(frames: Iterable[Image.Image], count: int, pipe: Connection) -> Iterator[Image.Image]:
    for done, frame in enumerate(frames):
        pipe.send({"done": done, "count": count})
        yield frame


def _sentence(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk of {path.parents[1]} is full: free some space there, and render the film again"
    if is_out_of_memory(error):
        return workprocess.OUT_OF_MEMORY
    text = str(error).splitlines()
    return f"the film could not be rendered ({text[0] if text else type(error).__name__})"
