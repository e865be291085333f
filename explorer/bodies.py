"""Bodies of requests, read with a limit, and refusals in a sentence."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

LONGEST_MESSAGE = 2**16  # bytes
LARGEST_UPLOAD = 20 * 2**20  # bytes
BUSY = "too many pages are open: close one"


class TooLargeError(ValueError):
    """A body of a request is too large."""


class BusyError(Exception):
    """Too many clients."""


async def body(request: Request, most: int = LONGEST_MESSAGE) -> bytes:
    """The body of a request, read no further than `most` bytes."""
    size, parts = 0, []
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLargeError(f"the file is larger than {most // 2**20 or 1} MiB")
        parts.append(part)
    return b"".join(parts)


def refused(error: Exception) -> Response:
    """The answer to a request that is refused: `{"error": sentence}`."""
    status = 503 if isinstance(error, BusyError) else 413 if isinstance(error, TooLargeError) else 422
    return JSONResponse({"error": str(error)}, status)
