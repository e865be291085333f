"""Pictures that were dropped on the page, kept by their SHA-256 until explore.py ends.

POST /pictures            the raw bytes of a file: `{"digest": "9f…", "width": 640, "height": 480}`
GET  /pictures/{digest}   its bytes
"""

import asyncio
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from explorer import encoding
from explorer.bodies import LARGEST_UPLOAD, body, refused
from explorer.collage import DIGEST

MOST = 2**29  # bytes of all pictures
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp"}


class Gallery:
    """The pictures in `folder`, which has nothing else. Names of files are digests, and never come from the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def routes(self) -> list[Route]:
        """The answers to the page."""
        return [Route("/pictures", self.take, methods=["POST"]), Route("/pictures/{digest}", self.show)]

    async def take(self, request: Request) -> Response:
        """Keep a picture."""
        try:
            data = await body(request, LARGEST_UPLOAD)
            width, height = await asyncio.to_thread(encoding.checked, data)
            digest = await asyncio.to_thread(self.keep, data)
        except (OSError, ValueError) as error:
            return refused(error)
        return JSONResponse({"digest": digest, "width": width, "height": height})

    def show(self, request: Request) -> Response:
        """A picture that is kept."""
        try:
            data = self.path(request.path_params["digest"]).read_bytes()
        except (OSError, ValueError):
            return Response("there is no such picture\n", 404, media_type="text/plain")
        return Response(data, media_type=next(kind for start, kind in _KINDS.items() if data.startswith(start)))

    def keep(self, data: bytes) -> str:
        """Keep the bytes of a picture; returns their digest. The oldest pictures leave when there are too many."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / digest
        if path.exists():
            path.touch()
        else:
            path.write_bytes(data)
        kept = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in kept)
        for path in kept[:-1]:
            if total > MOST:
                total -= path.stat().st_size
                path.unlink()
        return digest

    def path(self, digest: str) -> Path:
        """The file of a digest. Raise ValueError if there is none."""
        path = self.folder / digest
        if not re.fullmatch(DIGEST, digest) or not path.is_file():
            raise ValueError("a picture is no longer here: drop it on the page again")
        return path
