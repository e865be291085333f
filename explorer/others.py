"""Pictures of other networks, or in another precision, to compare: a process makes them, which starts when needed."""

import asyncio
from typing import Any

from explorer.link import Link
from explorer.offered import Offered
from explorer.renderer import serve_others
from explorer.shelf import Placed
from explorer.studio import Asked


class Others:
    """The server's side. `link` is that of the shown network."""

    def __init__(self, link: Link, offered: Offered) -> None:
        self.shown, self.offered = link, offered
        self._link: Link | None = None
        self._lock = asyncio.Lock()
        self._guests: dict[int, tuple[int, Link]] = {}

    async def ask(self, client: int, asked: Asked, answers: Any) -> None:
        """Ask for a picture, whose answer comes by the client's queue. ValueError for a number that is not offered."""
        place, values, device, precision, _ = self.shown.arguments
        if asked.network is not None:
            path = self.offered.path(asked.network)
            if path is None or not path.is_file():
                raise ValueError("this network is no longer there: choose another one")
            place, values = str(path), {}
        placed = Placed(**dict(asked), place=place, values=values, chosen=asked.precision or precision)
        async with self._lock:
            if self._link is None:
                link = OtherLink(device, self.shown.about["threads"])
                await asyncio.to_thread(link.start)
                self._link = link
        if client not in self._guests:
            self._guests[client] = (self._link.join(answers)[0], self._link)
        self._link.ask(self._guests[client][0], placed)

    def leave(self, client: int) -> None:
        """Forget a client, and what it waits for."""
        if client in self._guests:
            guest, link = self._guests.pop(client)
            link.leave(guest)

    def stop(self) -> None:
        """End the process, if it has started."""
        if self._link is not None:
            self._link.stop()


class OtherLink(Link):
    """The process of other networks."""

    def __init__(self, device: str, threads: tuple[int | None, bool]) -> None:
        super().__init__("", {}, device, "fp32")
        self.work = serve_others, (device, threads)
