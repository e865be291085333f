"""`report.html`: a run on one page that needs no other file."""

import html
import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any

from filelock import FileLock, Timeout

from system.files import replacing
from system.text import harmless, printable
from torch_utils import config as configs
from training.report import curves, history, sheets
from training.report.alarms import Alarms
from training.report.history import History
from training.report.settings import options_of, signs_of, typed
from training.report.settings import usual as usual_of
from training.report.status import duration
from training.signs import Config, mean, part

NAME = "report.html"
LOG_LINES = 400  # the last lines of a longer log
MOST_SETTINGS = 1000  # a configuration has fewer than 100
COMMAND = re.compile(r"(python|torchrun)\b.* ?train\.py\b")
HERE = Path(__file__).parent


def write(folder: Path, state: str = "", path: Path | None = None) -> Path:
    """Write the page of a run, atomically, and return its path.

    Args:
        folder: of the run.
        state: "running", "finished" or "stopped"; "" finds out from the files.
        path: of the page; None for `report.html` in the run folder.

    Raises:
        FileNotFoundError, ValueError: if it is not the folder of a run.
    """
    run = history.read(folder)
    path = path or folder / NAME
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
    css, curves_js, page_js = ((HERE / name).read_text("utf-8") for name in ("page.css", "curves.js", "page.js"))
    parts = {
        "title": _said(run.folder.resolve().name),
        "style": css,
        "script": page_js + curves_js,
        "state": _said(state),
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "moment": f"{time.time():.0f}",
        "progress": f'<progress max="{run.end}" value="{min(run.seen, run.end)}"></progress>' if run.end else "",
        "facts": _facts(run, state),
        "alarms": _alarms(run),
        "samples": _samples(run),
        "curves": _curves(run),
        "settings": _settings(run),
        "commands": _commands(run),
        "log": _log(run),
    }
    return Template((HERE / "page.html").read_text("utf-8")).substitute(parts)


def _said(text: object) -> str:
    return html.escape(harmless(str(text)))


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>\n'


def _kimg(seen: float) -> str:
    return f"{seen / 1000:g}"


def _facts(run: History, state: str) -> str:
    last, config = run.stats[-1] if run.stats else {}, typed(run.config)
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
        "images": f"{config.shape.width} x {config.shape.height}" if config else "",
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
    return _section("alarms", "Alarms", f"<ul>{''.join(items)}</ul>") if items else ""


def _image(sheet: sheets.Picture, alt: str, more: str = "") -> str:
    return f'<img src="{sheet.uri}" width="{sheet.width}" height="{sheet.height}" alt="{alt}"{more}>'


def _samples(run: History) -> str:
    shown = [(kimg, sheet) for kimg, path in sheets.thinned(run.samples) if (sheet := sheets.picture(path))]
    reals, last = sheets.picture(run.reals), len(shown) - 1
    figures, note = "", ""
    if shown:
        frames = (
            _image(sheet, f"samples at kimg {kimg:g}", f' data-kimg="{kimg:g}"{"" if i == last else " hidden"}')
            for i, (kimg, sheet) in enumerate(shown)
        )
        player = (
            '<div class="player"><button type="button" id="play">play</button>'
            f'<input type="range" id="time" min="0" max="{last}" value="{last}" aria-label="time of the samples"></div>'
        )
        figures += (
            f'<figure><figcaption>Samples at kimg <output id="kimg">{shown[-1][0]:g}</output></figcaption>'
            f'<div id="frames" class="sheet">{"".join(frames)}</div>{player if last else ""}</figure>'
        )
        note = (
            f"<p><small>{len(shown)} of {len(run.samples)} sheets, all of {signs_of(run.config).same}. "
            "A click enlarges a sheet; the arrow keys then move through time.</small></p>"
        )
    if reals:
        image = _image(reals, "real images")
        figures += f'<figure><figcaption>Reals</figcaption><div class="sheet">{image}</div></figure>'
    return _section("samples", "Samples", f'<div class="pair">{figures}</div>{note}') if figures else ""


def _curves(run: History) -> str:
    charts = curves.drawn(run.stats, run.metrics, signs_of(run.config).charts, run.class_names)
    if not charts:
        return ""
    # "<" could end the script
    data = json.dumps([asdict(chart) for chart in charts], allow_nan=False).replace("<", "\\u003c")
    tools = (
        '<div class="tools"><label>Smoothing <input type="range" id="smooth" min="0" max="0.98" step="0.02" value="0"> '
        '<output id="smoothed">0</output></label><label><input type="checkbox" id="log"> logarithmic</label></div>'
    )
    plot = f'<div id="charts"></div><script type="application/json" id="data">{data}</script>'
    return _section("curves", "Curves <small>over thousands of images</small>", tools + plot)


def _settings(run: History) -> str:
    """A table for each part of the configuration, folded unless a setting in it differs from the preset."""
    options, config = options_of(run.config), typed(run.config)
    usual = usual_of(config) if config else {}
    groups: dict[str, list[str]] = {}
    differing: list[str] = []
    for name, value in islice(_leaves(run.config, ""), MOST_SETTINGS):
        group, _, last = name.rpartition(".")
        mark, preset, option = "", "", options.get(name, "")
        if usual.get(name, value) != value:
            differing.append(group)
            mark, preset = " class=differs", f" <small>preset: {_said(configs.spell(usual[name]))}</small>"
        groups.setdefault(group, []).append(
            f'<tr{mark}><th scope="row">{_said(printable(last))}</th>'
            f"<td>{_said(printable(configs.spell(value)))}{preset}</td><td><code>{option}</code></td></tr>"
        )
    tables = (
        f"<details{' open' if group in differing else ''}><summary>{_said(printable(group or 'run'))}</summary>"
        f"<table>{''.join(lines)}</table></details>"
        for group, lines in groups.items()
    )
    note = f" <small>{len(differing)} settings differ from the preset</small>"
    return _section("settings", f"Configuration{note}", "".join(tables)) if groups else ""


def _leaves(nested: Config, prefix: str) -> Iterator[tuple[str, Any]]:
    """The settings of a nested configuration by dotted name; those of a section before its sub-sections."""
    groups = {name: value for name, value in nested.items() if isinstance(value, dict)}
    yield from ((f"{prefix}{name}", value) for name, value in nested.items() if name not in groups)
    for name, value in groups.items():
        yield from _leaves(value, f"{prefix}{name}.")


def _commands(run: History) -> str:
    commands = "\n".join(dict.fromkeys(line for line in run.log if COMMAND.match(line)))
    return _section("commands", "Commands", f"<pre>{_said(commands)}</pre>") if commands else ""


def _log(run: History) -> str:
    last = run.log[-LOG_LINES:]
    text = _said("\n".join(last))
    return _section("log", "Log", f"<details><summary>the last {len(last)} lines</summary><pre>{text}</pre></details>")
