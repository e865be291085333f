"""The server of the page: its files, a socket and a POST for pictures, saving and restoring."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from explorer.bodies import BUSY, LARGEST_UPLOAD, LONGEST_MESSAGE, BusyError, TooLargeError, body, refused
from explorer.encoding import PlainError, restored
from explorer.guard import Guard
from explorer.link import Answers, Link, packed
from explorer.others import Others
from explorer.pagestate import Sheet, parsed, read_state
from explorer.studio import Asked

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_CLIENTS = 8  # sockets and requests at a time


class Pages:
    """The answers of the server; `link` computes pictures, `others` those of other networks."""

    def __init__(self, link: Link, others: Others | None = None) -> None:
        self.link, self.others = link, others
        self.files = {path.name: (KINDS[path.suffix], path.read_bytes()) for path in sorted(PAGE.iterdir())}

    def page(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params.get("name", self.link.about.get("page", "index.html"))
        if name not in self.files:
            return Response("there is no such page\n", 404, media_type="text/plain")
        kind, data = self.files[name]
        return Response(data, media_type=kind)

    def about(self, request: Request) -> Response:
        """The network and its controls."""
        return JSONResponse(self.link.about)

    async def frame(self, request: Request) -> Response:
        """The answer to one `Asked`, for places that let no sockets through."""
        try:
            asked = _asked(await body(request))
            alone = asked.model_copy(update={"emerge": False, "near": None})
            told, data = await self._answer(lambda client, answers: self._ask(client, alone, answers))
        except (ValueError, BusyError) as error:
            return refused(error)
        return Response(packed(told, data), 422 if "error" in told else 200, media_type="application/octet-stream")

    async def save(self, request: Request) -> Response:
        """The PNG of a state, with the settings in it."""
        try:
            state = read_state(await body(request)).model_dump_json()
            told, data = await self._answer(lambda client, answers: self._save(client, state))
        except (ValueError, BusyError) as error:
            return refused(error)
        return JSONResponse(told, 422) if "error" in told else Response(data, media_type="image/png")

    async def sheet(self, request: Request) -> Response:
        """The command line of a `Sheet`, or why there is none."""
        try:
            sheet = parsed(Sheet, await body(request), "the sheet")
        except ValueError as error:
            return refused(error)
        try:
            return JSONResponse({"command": self.link.scene.sheet(sheet)})
        except ValueError as error:
            return JSONResponse({"command": "", "why": str(error)})

    async def restore(self, request: Request) -> Response:
        """The state in a picture that was dropped on the page: the raw bytes of the file are the body."""
        try:
            data = await body(request, LARGEST_UPLOAD)
            return JSONResponse((await asyncio.to_thread(restored, data)).model_dump(mode="json"))
        except PlainError as error:
            return JSONResponse({"plain": str(error)})
        except ValueError as error:
            return refused(error)

    async def socket(self, socket: WebSocket) -> None:
        """Questions of a page, and answers as they come."""
        if self.link.clients >= MOST_CLIENTS:
            await socket.close(1013, BUSY)
            return
        await socket.accept()
        client, answers = self.link.join()
        sending, waiting = asyncio.create_task(_send(socket, answers)), set[asyncio.Task[None]]()
        try:
            while True:
                question = asyncio.create_task(self._question(client, await socket.receive_text(), answers))
                waiting.add(question)  # the process of other networks takes seconds to start
                question.add_done_callback(waiting.discard)
        except (WebSocketDisconnect, KeyError):  # KeyError: a binary message, which the page never sends
            pass
        finally:
            self._leave(client)
            sending.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await sending

    async def _question(self, client: int, text: str, answers: Answers) -> None:
        try:
            await self._ask(client, _asked(text.encode()), answers)
        except ValueError as error:
            answers.put_nowait(({**_numbers(text), "error": str(error)}, b""))

    async def _ask(self, client: int, asked: Asked, answers: Answers) -> None:
        """Put a question to the process of the shown network, or of the others."""
        if asked.network is None and asked.precision is None:
            self.link.ask(client, asked)
        elif self.others is None:
            raise ValueError("this server shows one network alone")
        else:
            await self.others.ask(client, asked, answers)

    async def _save(self, client: int, state: str) -> None:
        self.link.save(client, state)

    def _leave(self, client: int) -> None:
        self.link.leave(client)
        if self.others is not None:
            self.others.leave(client)

    async def _answer(self, ask: Callable[[int, Answers], Awaitable[None]]) -> tuple[dict[str, Any], bytes]:
        """The answer to the one question that `ask` puts for a client."""
        if self.link.clients >= MOST_CLIENTS:
            raise BusyError(BUSY)
        client, answers = self.link.join()
        try:
            await ask(client, answers)
            return await answers.get()
        finally:
            self._leave(client)


def make_app(
    link: Link,
    port: int,
    token: str,
    listening: bool = False,
    more: Sequence[Route] = (),
    others: Others | None = None,
) -> Guard:
    """The application: `link` computes pictures, `others` those of other networks, `more` are further answers.

    `port` and `token` are of its address; with `listening` other machines may come.
    """
    pages = Pages(link, others)
    answers = (pages.frame, pages.save, pages.restore, pages.sheet)
    posts = [Route(f"/{each.__name__}", each, methods=["POST"]) for each in answers]
    routes = [
        Route("/", pages.page),
        Route("/about", pages.about),
        *posts,
        *more,
        WebSocketRoute("/socket", pages.socket),
        Route("/{name}", pages.page),
    ]
    return Guard(Starlette(routes=routes), port, token, listening)


async def _send(socket: WebSocket, answers: asyncio.Queue[tuple[dict[str, Any], bytes]]) -> None:
    while True:
        await socket.send_bytes(packed(*await answers.get()))


def _asked(data: bytes) -> Asked:
    if len(data) > LONGEST_MESSAGE:
        raise TooLargeError(f"the message has {len(data)} bytes, expected at most {LONGEST_MESSAGE}")
    return parsed(Asked, data, "the message")


def _numbers(text: str) -> dict[str, int]:
    """The number and slot of a message that was refused, so that the page knows which."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    found = message if isinstance(message, dict) else {}
    return {name: found[name] for name in ("number", "slot") if isinstance(found.get(name), int)}
