"""`report.html`: a run on one page that needs no other file."""

import html
import time
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from string import Template
from typing import Any

from filelock import FileLock, Timeout

from system.files import replacing
from system.text import harmless, printable
from torch_utils import config as configs
from training.courses import signs_of
from training.report import charts, history, sheets
from training.report.alarms import Alarms
from training.report.history import History
from training.report.status import duration
from training.signs import Config, mean, part

NAME = "report.html"
LOG_LINES = 400  # the last lines of a longer log
MOST_SETTINGS = 1000  # a configuration has fewer than 100
RELOAD = '<meta http-equiv="refresh" content="60">'  # a running run writes its page again and again
HERE = Path(__file__).parent


def write(folder: Path, state: str = "") -> Path:
    """Write the page of a run, atomically, and return its path.

    Args:
        folder: of the run.
        state: "running", "finished" or "stopped"; "" finds out from the files.

    Raises:
        FileNotFoundError, ValueError: if it is not the folder of a run.
    """
    run, path = history.read(folder), folder / NAME
    with replacing(path) as file:
        file.write_text(page(run, state or state_of(run)), encoding="utf-8", errors="backslashreplace")
    return path


def state_of(run: History) -> str:
    """The state of a run, by its files: "running" while a process holds its lock."""
    if run.end and run.seen >= run.end:
        return "finished"
    lock = run.folder / ".lock"
    try:
        if lock.is_file():
            with FileLock(lock, timeout=0):
                pass
    except Timeout:
        return "running"
    except OSError:  # a read-only folder
        pass
    return "stopped"


def page(run: History, state: str) -> str:
    """The text of the page."""
    parts = {
        "title": _said(run.folder.resolve().name),
        "style": (HERE / "page.css").read_text("utf-8"),
        "refresh": RELOAD if state == "running" else "",
        "state": _said(state),
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "progress": f'<progress max="{run.end}" value="{min(run.seen, run.end)}"></progress>' if run.end else "",
        "facts": _facts(run, state),
        "alarms": _alarms(run),
        "samples": _samples(run),
        "curves": _curves(run),
        "settings": _settings(run),
        "log": _log(run),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(parts)


def _said(text: object) -> str:
    return html.escape(harmless(str(text)))


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>\n' if body else ""


def _kimg(seen: float) -> str:
    return f"{seen / 1000:g}"


def _facts(run: History, state: str) -> str:
    last = run.stats[-1] if run.stats else {}
    speed = max(mean(last.get("timing/images per second")) or 0.0, 0.0)  # in the last tick
    seconds, memory = mean(last.get("time/seconds")), mean(last.get("memory/peak bytes"))
    left = min((run.end - run.seen) / speed, 1e12) if speed and state == "running" and run.end > run.seen else None
    facts = {
        "kimg": f"{_kimg(run.seen)} of {_kimg(run.end)}" if run.end else _kimg(run.seen),
        "time": "" if seconds is None else duration(seconds),
        "speed in the last tick": f"{speed:.3g} images/s" if speed else "",
        "left": "" if left is None else duration(left),
        "memory": f"{memory / 2**30:.3g} GiB" if memory else "",
        "data": part(run.config, "data").get("path", ""),
    }
    facts |= {name: run.config.get(name, "") for name in ("model", "preset", "device", "precision")}
    told = (f"<div><dt>{name}</dt><dd>{_said(text)}</dd></div>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(told)}</dl>'


def _alarms(run: History) -> str:
    watched = Alarms(signs_of(run.config), run.config)
    for record in run.stats:
        watched.feed(record)
    items = []
    for alarm in sorted(watched.raised, key=lambda alarm: alarm.until is not None):
        since = f"since kimg {_kimg(alarm.since)}" if alarm.since else "since the beginning"
        when = since if alarm.until is None else f"kimg {_kimg(alarm.since)} to {_kimg(alarm.until)}"
        items.append(
            f'<li class="{"open" if alarm.until is None else "over"}"><b>{_said(alarm.kind)}</b> <small>{when}</small>'
            f"<p>{_said(alarm.text)}; {_said(alarm.advice)}.</p></li>"
        )
    return _section("alarms", "Alarms", f"<ul>{''.join(items)}</ul>" if items else "")


def _image(sheet: sheets.Picture, alt: str, more: str = "") -> str:
    return f'<img src="{sheet.uri}" width="{sheet.width}" height="{sheet.height}" alt="{alt}"{more}>'


def _samples(run: History) -> str:
    shown = [(kimg, sheet) for kimg, path in sheets.thinned(run.samples) if (sheet := sheets.picture(path))]
    reals, last = sheets.picture(run.reals), len(shown) - 1
    figures = ""
    if shown:
        frames = (
            _image(sheet, f"samples at kimg {kimg:g}", f' data-kimg="{kimg:g}"{"" if i == last else " hidden"}')
            for i, (kimg, sheet) in enumerate(shown)
        )
        slider = f'<input type="range" id="time" min="0" max="{last}" value="{last}" aria-label="time of the samples">'
        figures += (
            f'<figure><figcaption>Samples at kimg <output id="kimg">{shown[-1][0]:g}</output> '
            f"({len(shown)} of {len(run.samples)} sheets)</figcaption>"
            f'<div id="frames" class="sheet">{"".join(frames)}</div>{slider if last else ""}</figure>'
        )
    if reals:
        image = _image(reals, "real images")
        figures += f'<figure><figcaption>Reals</figcaption><div class="sheet">{image}</div></figure>'
    return _section("samples", "Samples", f'<div class="pair">{figures}</div>' if figures else "")


def _curves(run: History) -> str:
    placed = charts.placed(run.stats, run.metrics, signs_of(run.config).charts)
    sections = (
        f'<h3>{section}</h3><div class="charts">{"".join(charts.drawn(*each) for each in several)}</div>'
        for section, several in groupby(placed, key=lambda each: each[0].section)
    )
    return _section("curves", "Curves <small>over thousands of images</small>", "".join(sections))


def _settings(run: History) -> str:
    lines = (
        f"{printable(name, 60):<40} {printable(configs.spell(value))}"
        for name, value in islice(_leaves(run.config, ""), MOST_SETTINGS)
    )
    text = _said("\n".join(lines))
    return _section("settings", "Settings", f"<details><summary>all</summary><pre>{text}</pre></details>")


def _leaves(nested: Config, prefix: str) -> Iterator[tuple[str, Any]]:
    """The settings of a nested configuration by dotted name."""
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _log(run: History) -> str:
    last = run.log[-LOG_LINES:]
    text = _said("\n".join(last))
    return _section("log", "Log", f"<details><summary>the last {len(last)} lines</summary><pre>{text}</pre></details>")
