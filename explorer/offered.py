"""Networks and runs that the page may choose from: a list that the server makes, whose numbers the page names.

GET /networks         the list
GET /runs/3/sheet     the newest sheet of samples of a run
GET /runs/3/report    its report
"""

import io
import re
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from system.text import printable
from torch_utils.runs import all_runs, snapshots

MOST_RUNS, MOST_BESIDE = 50, 100
LARGEST_SHEET = 960  # pixels of a side, as the page gets it
_SHEET = re.compile(r"fakes-([0-9]{6,18}\.[0-9])\.png")
# The report runs its own script, and can reach nothing: not even the cookie of this page.
POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


class Offered:
    """The networks beside the one at `place`, and the snapshots of the runs in `folder`."""

    def __init__(self, place: str, folder: Path) -> None:
        self.place, self.folder = place, folder
        self._numbers: dict[Path, int] = {}

    def routes(self) -> list[Route]:
        """The answers to the page."""
        return [
            Route("/networks", self.networks),
            Route("/runs/{number:int}/sheet", self.sheet),
            Route("/runs/{number:int}/report", self.report),
        ]

    def networks(self, request: Request) -> Response:
        """The list.

        `{"networks": [{"number": 0, "name": "a.safetensors"}],
        "runs": [{"number": 1, "name": "00000-a", "sheet": true, "snapshots": [{"number": 2, "kimg": 20.0}]}]}`
        """
        runs = [self._run(run) for run in self._runs()]
        beside = [{"number": self.number(path), "name": printable(path.name, 80)} for path in self._beside()]
        return JSONResponse({"networks": beside, "runs": [run for run in runs if run["snapshots"] or run["sheet"]]})

    def sheet(self, request: Request) -> Response:
        """The newest sheet of a run."""
        run = self.path(request.path_params["number"])
        newest = max(_sheets(run), default=None) if run else None
        try:
            if newest is None:
                raise ValueError
            with Image.open(newest[1], formats=("PNG",)) as image:
                image.thumbnail((LARGEST_SHEET, LARGEST_SHEET), Image.Resampling.BOX)
                buffer = io.BytesIO()
                image.save(buffer, "WEBP", quality=85)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return Response("there is no such sheet\n", 404, media_type="text/plain")
        return Response(buffer.getvalue(), media_type="image/webp")

    def report(self, request: Request) -> Response:
        """The report of a run, written now."""
        from training.report import page  # takes a second

        run = self.path(request.path_params["number"])
        try:
            if run is None:
                raise FileNotFoundError
            return HTMLResponse(page.text(run, reload=False), headers={"Content-Security-Policy": POLICY})
        except (OSError, ValueError):
            return Response("there is no such report\n", 404, media_type="text/plain")

    def number(self, path: Path) -> int:
        """The number that the page knows a network or a run by."""
        return self._numbers.setdefault(path, len(self._numbers))

    def path(self, number: int) -> Path | None:
        """The network or run of a number that was given out."""
        return next((path for path, known in self._numbers.items() if known == number), None)

    def _runs(self) -> list[Path]:
        shown = Path(self.place)
        folders = [shown if shown.is_dir() else shown.parent] if shown.exists() else []
        own = [folder for folder in folders if folder.is_dir() and snapshots(folder)]
        return list(dict.fromkeys(run.resolve() for run in [*own, *all_runs(self.folder)]))[:MOST_RUNS]

    def _beside(self) -> list[Path]:
        """Network files in the folder of the shown one, if it is no run."""
        shown = Path(self.place).resolve()
        if not shown.is_file() or snapshots(shown.parent):
            return []
        return [path for path in sorted(shown.parent.glob("*.safetensors")) if path != shown][:MOST_BESIDE]

    def _run(self, run: Path) -> dict[str, Any]:
        try:
            found, sheet = snapshots(run), bool(_sheets(run))
        except OSError:  # removed meanwhile
            found, sheet = [], False
        made = [{"number": self.number(path), "kimg": kimg} for kimg, path in found]
        return {"number": self.number(run), "name": printable(run.name, 80), "sheet": sheet, "snapshots": made}


def _sheets(run: Path) -> list[tuple[float, Path]]:
    return [(float(found[1]), path) for path in run.iterdir() if (found := _SHEET.fullmatch(path.name))]
