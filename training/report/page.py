"""`report.html`: a run of any version, whole or cut short, on one page that needs no other file."""

import base64
import io
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from string import Template
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

from system.files import replacing
from system.text import printable
from system.untrusted import json_object
from torch_utils import config as configs
from torch_utils.runs import REALS, StatsFile
from training.courses import signs_of
from training.report import charts
from training.report.charts import escaped
from training.signs import Alarms, Config, duration, mean, part

NAME, STATS = "report.html", "stats.jsonl"
MOST_BYTES = 2**26  # of a file that are held at once: statistics of 20,000 ticks
LOG_LINES = 400  # the last lines of a longer log
MOST_SETTINGS = 1000  # a configuration has fewer than 100
MOST = 32  # sheets of samples
LONGEST = 1024  # pixels of the longer side of a sheet
RELOAD = '<meta http-equiv="refresh" content="60">'  # a running run writes its page again and again
HERE = Path(__file__).parent
_SAMPLES = re.compile(r"fakes-(\d{6,}\.\d)\.png")

Sheet = tuple[float, Path]  # kimg and file


@dataclass(frozen=True)
class History:
    """A run as the files of its folder tell it. What is missing is empty."""

    folder: Path
    config: dict[str, Any]  # nested, as in config.json
    stats: list[dict[str, Any]]  # by `seen`
    metrics: list[dict[str, Any]]
    log: list[str]
    samples: list[Sheet]  # in order

    @property
    def seen(self) -> int:
        """Images shown so far."""
        return self.stats[-1]["seen"] if self.stats else 0

    @property
    def end(self) -> int:
        """Images at the end of training; 0 if unknown."""
        kimg = mean(part(self.config, "pace").get("kimg")) or 0.0
        return round(kimg * 1000) if 0 < kimg < 1e12 else 0


def read(folder: Path) -> History:
    """Read a run folder. Raises FileNotFoundError if it is not the folder of a run."""
    if not any((folder / name).is_file() for name in (STATS, "log.txt", "config.json")):
        raise FileNotFoundError(f"there is no run in {folder}: give the folder of a run, such as runs/00000-ffhq-auto")
    found = ((_SAMPLES.fullmatch(path.name), path) for path in folder.iterdir())
    stats = {record["seen"]: record for record in _records(folder / STATS)}  # the last word on each moment
    return History(
        folder,
        json_object(_text(folder / "config.json")) or {},
        [stats[seen] for seen in sorted(stats)],
        _records(folder / "metrics.jsonl"),
        _text(folder / "log.txt").splitlines(),
        sorted((float(match[1]), path) for match, path in found if match and path.is_file()),
    )


def _records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of statistics; of a very large file every second, third ..."""
    if not path.is_file():
        return []
    step = max(-(-path.stat().st_size // MOST_BYTES), 1)
    return list(islice(StatsFile(path).read(), 0, None, step))


def _text(path: Path) -> str:
    """The first MOST_BYTES of a text file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", errors="replace")


def write(folder: Path, state: str = "") -> Path:
    """Write the page of a run, atomically, and return its path. Arguments and errors as of `text`."""
    path, written = folder / NAME, text(folder, state)
    with replacing(path) as file:
        file.write_text(written, encoding="utf-8", errors="backslashreplace")
    return path


def text(folder: Path, state: str = "", reload: bool = True) -> str:
    """The page of a run as HTML, which needs no other file.

    `state` is "running", "finished" or "stopped"; "" finds out. With `reload` the page of a running run loads itself
    again every minute. Raises FileNotFoundError or ValueError as `read`.
    """
    run = read(folder)
    state = state or state_of(run)
    parts = {
        "title": escaped(folder.resolve().name),
        "style": (HERE / "page.css").read_text("utf-8"),
        "refresh": RELOAD if state == "running" and reload else "",
        "state": escaped(state),
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "progress": f'<progress max="{run.end}" value="{min(run.seen, run.end)}"></progress>' if run.end else "",
        "facts": _facts(run, state),
        "alarms": _alarms(run),
        "samples": _samples(run),
        "curves": _curves(run),
        "settings": _folded("settings", "all", _settings(run.config, "")),
        "log": _folded("log", f"the last {len(run.log[-LOG_LINES:])} lines", run.log[-LOG_LINES:]),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(parts)


def state_of(run: History) -> str:
    """The state of a run, by its files: "running" while a process holds its lock."""
    if run.end and run.seen >= run.end:
        return "finished"
    lock = run.folder / ".lock"
    try:
        with FileLock(lock, timeout=0) if lock.is_file() else nullcontext():
            return "stopped"
    except Timeout:
        return "running"
    except OSError:  # a read-only folder
        return "stopped"


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>\n' if body else ""


def _folded(name: str, summary: str, lines: Sequence[str]) -> str:
    """A section of preformatted lines, folded."""
    text = escaped("\n".join(lines))
    return _section(name, name.capitalize(), f"<details><summary>{summary}</summary><pre>{text}</pre></details>")


def _settings(config: Config, prefix: str) -> list[str]:
    """A line for each setting of a nested configuration, by dotted name."""
    lines: list[str] = []
    for name, value in config.items():
        if isinstance(value, dict):
            lines += _settings(value, f"{prefix}{name}.")
        else:
            lines.append(f"{printable(prefix + name, 60):<40} {printable(configs.spell(value))}")
    return lines[:MOST_SETTINGS]


def _facts(run: History, state: str) -> str:
    last = run.stats[-1] if run.stats else {}
    speed = max(mean(last.get("timing/images per second")) or 0.0, 0.0)  # in the last tick
    seconds, memory = mean(last.get("time/seconds")), mean(last.get("memory/peak bytes"))
    left = min((run.end - run.seen) / speed, 1e12) if speed and state == "running" and run.end > run.seen else None
    facts = {
        "kimg": f"{run.seen / 1000:g} of {run.end / 1000:g}" if run.end else f"{run.seen / 1000:g}",
        "time": "" if seconds is None else duration(seconds),
        "speed in the last tick": f"{speed:.3g} images/s" if speed else "",
        "left": "" if left is None else duration(left),
        "memory": f"{memory / 2**30:.3g} GiB" if memory else "",
        "data": part(run.config, "data").get("path", ""),
    }
    facts |= {name: run.config.get(name, "") for name in ("model", "preset", "device", "precision")}
    told = (f"<div><dt>{name}</dt><dd>{escaped(text)}</dd></div>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(told)}</dl>'


def _alarms(run: History) -> str:
    watched = Alarms(signs_of(run.config), run.config)
    for record in run.stats:
        watched.feed(record)
    items = []
    for alarm in sorted(watched.raised, key=lambda alarm: alarm.until is not None):
        when = f"since kimg {alarm.since / 1000:g}" if alarm.since else "since the beginning"
        if alarm.until is not None:
            when = f"kimg {alarm.since / 1000:g} to {alarm.until / 1000:g}"
        kind = "open" if alarm.until is None else "over"
        items.append(
            f'<li class="{kind}"><b>{escaped(alarm.kind)}</b> <small>{when}</small>'
            f"<p>{escaped(alarm.text)}; {escaped(alarm.advice)}.</p></li>"
        )
    return _section("alarms", "Alarms", f"<ul>{''.join(items)}</ul>" if items else "")


def thinned(sheets: Sequence[Sheet]) -> list[Sheet]:
    """At most MOST + 1 of the sheets: the first, every 2nd, 4th, 8th ... after it, and the last.

    As a run grows, the sheets that are kept were kept before, so they need not be compressed again.
    """
    step = 1
    while -(-len(sheets) // step) > MOST:
        step *= 2
    return [sheet for i, sheet in enumerate(sheets) if i % step == 0 or i == len(sheets) - 1]


def picture(path: Path, alt: str, kimg: float | None = None) -> str:
    """The picture in a file as an `img` with its data, hidden if of a `kimg`; "" if the file is damaged or missing."""
    try:
        attributes = _compressed(path, path.stat().st_mtime_ns) if path.is_file() else ""
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return ""
    more = "" if kimg is None else f' data-kimg="{kimg:g}" hidden'
    return f'<img {attributes} alt="{alt}"{more}>' if attributes else ""


@lru_cache(maxsize=4 * MOST)
def _compressed(path: Path, modified: int) -> str:
    with Image.open(path) as image:
        shown = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        shown.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        buffer = io.BytesIO()
        shown.save(buffer, "WEBP", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'src="data:image/webp;base64,{data}" width="{shown.width}" height="{shown.height}"'


def _samples(run: History) -> str:
    sheets = [(kimg, picture(path, f"samples at kimg {kimg:g}", kimg)) for kimg, path in thinned(run.samples)]
    frames, figures = [(kimg, image) for kimg, image in sheets if image], ""
    if frames:
        last, (kimg, newest) = len(frames) - 1, frames[-1]
        images = "".join(image for _, image in frames[:-1]) + newest.replace(" hidden>", ">")
        slider = f'<input type="range" id="time" min="0" max="{last}" value="{last}" aria-label="time of the samples">'
        figures += (
            f'<figure><figcaption>Samples at kimg <output id="kimg">{kimg:g}</output> '
            f"({len(frames)} of {len(run.samples)} sheets)</figcaption>"
            f'<div id="frames" class="sheet">{images}</div>{slider if last else ""}</figure>'
        )
    if reals := picture(run.folder / REALS, "real images"):
        figures += f'<figure><figcaption>Reals</figcaption><div class="sheet">{reals}</div></figure>'
    return _section("samples", "Samples", f'<div class="pair">{figures}</div>' if figures else "")


def _curves(run: History) -> str:
    placed = charts.placed(run.stats, run.metrics, signs_of(run.config).charts)
    sections = (
        f'<h3>{section}</h3><div class="charts">{"".join(charts.drawn(*each) for each in several)}</div>'
        for section, several in groupby(placed, key=lambda each: each[0].section)
    )
    return _section("curves", "Curves <small>over thousands of images</small>", "".join(sections))
