"""`report.html`: a run on one page that needs nothing but itself."""

import html
import json
import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from string import Template

from system.files import replacing
from system.locks import BusyError, locked
from system.text import harmless
from training.report import alarms as watched
from training.report import curves, history, settings, sheets
from training.report.history import History, mean, part
from training.report.status import duration

NAME = "report.html"
LOG_LINES = 400  # the last ones of a longer log
COMMAND = re.compile(r"(python|torchrun)\b.* ?train\.py\b")
STATUS = re.compile(r"kimg +[\d.]+ +time ")
HERE = Path(__file__).parent
SCRIPTS = ("page.js", "curves.js")


def write(folder: Path, state: str = "", path: Path | None = None) -> Path:
    """Writes the page of a run into its folder, or to `path`, whole or not at all, and returns where.

    Args:
        folder: of the run.
        state: `running`, `finished`, or `stopped`; without it, as the files tell.
        path: another place for the page.

    Raises:
        FileNotFoundError, ValueError: when it is not the folder of a run.
    """
    run = history.read(folder)
    path = path or folder / NAME
    with replacing(path) as file:
        file.write_text(page(run, state or state_of(run)), encoding="utf-8", errors="backslashreplace")
    return path


def state_of(run: History) -> str:
    """Whether a run is being trained, has come to its end, or waits to go on."""
    if run.end and run.seen >= run.end:
        return "finished"
    lock = run.folder / ".lock"
    if not lock.is_file():
        return "stopped"
    try:
        with locked(lock):
            return "stopped"
    except BusyError:
        return "running"
    except OSError:  # a folder that may only be read
        return "stopped"


def page(run: History, state: str) -> str:
    """The text of the page."""
    parts = {
        "title": _said(run.folder.resolve().name),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        "state": _said(state),
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "renewal": _renewal(run, state),
        "progress": _progress(run),
        "facts": _facts(run, state),
        "alarms": _alarms(run),
        "samples": _samples(run),
        "curves": _curves(run),
        "metrics": _metrics(run),
        "settings": _settings(run),
        "commands": _commands(run),
        "log": _log(run),
    }
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(parts)


def _said(text: object) -> str:
    return html.escape(harmless(str(text)))


def _renewal(run: History, state: str) -> str:
    """When the page was written, and after how many seconds without another the run has gone; "" unless it is running.

    A page is written with each snapshot. Its script loads it anew as long as the run lives.
    """
    if state != "running":
        return ""
    pace, speed = part(run.config, "pace"), _speed(run)
    seconds = 1000 * (mean(pace.get("tick")) or 0.0) * (mean(pace.get("snap")) or 0.0) / speed if speed else 0.0
    patience = 600 + 3 * min(max(seconds, 0.0), 7 * 86400)
    return f' data-written="{time.time():.0f}" data-patience="{patience:.0f}"'


def _speed(run: History) -> float:
    """Images a second in the last tick; 0 where that is unknown."""
    return max(mean(run.stats[-1].get("timing/images per second")) or 0.0, 0.0) if run.stats else 0.0


def _kimg(seen: float) -> str:
    return f"{seen / 1000:g}"


def _progress(run: History) -> str:
    if not run.end:
        return ""
    return f'<progress max="{run.end}" value="{min(run.seen, run.end)}">{_kimg(run.seen)} kimg</progress>'


def _facts(run: History, state: str) -> str:
    """What one wants to know first, as terms and descriptions."""
    last = run.stats[-1] if run.stats else {}
    speed = _speed(run)
    seconds, memory = mean(last.get("time/seconds")), mean(last.get("memory/peak bytes"))
    image = part(run.config, "generator")
    facts = {"kimg": f"{_kimg(run.seen)} of {_kimg(run.end)}" if run.end else _kimg(run.seen)}
    if seconds is not None:
        facts["time"] = duration(seconds)
    if speed:
        facts["speed in the last tick"] = f"{speed:.3g} images/s"
    if speed and state == "running" and run.end > run.seen:
        facts["left"] = duration(min((run.end - run.seen) / speed, 1e12))
    if memory:
        facts["memory"] = f"{memory / 2**30:.3g} GiB"
    facts["data"] = str(part(run.config, "data").get("path", ""))
    facts["images"] = f"{image['width']} x {image['height']}" if {"width", "height"} <= image.keys() else ""
    facts |= {name: str(run.config.get(name, "")) for name in ("preset", "device", "precision")}
    told = (f"<div><dt>{_said(name)}</dt><dd>{_said(text)}</dd></div>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(told)}</dl>'


def _alarms(run: History) -> str:
    found = watched.alarms(run.stats, run.config)
    if not found:
        return ""
    items = []
    for alarm in sorted(found, key=lambda alarm: alarm.until is not None):
        since = f"since kimg {_kimg(alarm.since)}" if alarm.since else "since the beginning"
        when = since if alarm.until is None else f"kimg {_kimg(alarm.since)} to {_kimg(alarm.until)}"
        items.append(
            f'<li class="{"open" if alarm.until is None else "over"}"><b>{_said(alarm.kind)}</b> <small>{when}</small>'
            f"<p>{_said(alarm.text)}; {_said(alarm.advice)}.</p></li>"
        )
    return f'<section id="alarms"><h2>Alarms</h2><ul>{"".join(items)}</ul></section>'


def _samples(run: History) -> str:
    shown = [(kimg, sheet) for kimg, path in sheets.thinned(run.fakes) if (sheet := sheets.picture(path))]
    reals = sheets.picture(run.reals) if run.reals else None
    if not shown and reals is None:
        return ""
    last = len(shown) - 1
    frames = "".join(
        f'<img src="{sheet.uri}" width="{sheet.width}" height="{sheet.height}" alt="fakes at kimg {kimg:g}" '
        f'data-kimg="{kimg:g}"{"" if i == last else " hidden"}>'
        for i, (kimg, sheet) in enumerate(shown)
    )
    slider = (
        '<div class="player"><button type="button" id="play" aria-label="play">&#9654;</button>'
        f'<input type="range" id="time" min="0" max="{last}" value="{last}" aria-label="time of the fakes"></div>'
        if last > 0
        else ""
    )
    fakes = (
        f'<figure><figcaption>Fakes at kimg <output id="kimg" for="time">{shown[-1][0]:g}</output></figcaption>'
        f'<div id="frames">{frames}</div>{slider}</figure>'
        if shown
        else ""
    )
    beside = (
        f'<figure><figcaption>Reals</figcaption><img src="{reals.uri}" width="{reals.width}" height="{reals.height}" '
        'alt="real images"></figure>'
        if reals
        else ""
    )
    note = (
        f"<p><small>{len(shown)} of {len(run.fakes)} sheets, the same latents in each. A click enlarges a sheet; "
        "the arrow keys lead through time there.</small></p>"
        if shown
        else ""
    )
    return f'<section id="samples"><h2>Samples</h2><div class="pair">{fakes}{beside}</div>{note}</section>'


def _curves(run: History) -> str:
    charts = curves.charts(run.stats, run.metrics, run.class_names)
    if not charts:
        return ""
    lazy = curves.lazy(run.config)
    charts = [replace(chart, healthy=lazy) if lazy and chart.title == "Learning rates" else chart for chart in charts]
    # "<" could end the script; no string needs it as it is.
    data = json.dumps([asdict(chart) for chart in charts], allow_nan=False).replace("<", "\\u003c")
    return (
        '<section id="curves"><h2>Curves <small>over thousands of images</small></h2><div class="tools">'
        '<label>Smoothing <input type="range" id="smooth" min="0" max="0.98" step="0.02" value="0"> '
        '<output id="smoothed" for="smooth">0</output></label>'
        '<label><input type="checkbox" id="log"> logarithmic</label></div><div id="charts"></div>'
        "<noscript><p>The curves are drawn by a script, which this browser does not run.</p></noscript>"
        f'<script type="application/json" id="data">{data}</script></section>'
    )


def _metrics(run: History) -> str:
    series = curves.metric_series(run.metrics)
    if not series:
        return ""
    rows = []
    for s in series:
        points = [(value, kimg) for kimg, value in zip(s.kimg, s.values, strict=True) if value is not None]
        ends = (f"{value:.5g} <small>at kimg {kimg:g}</small>" for value, kimg in (min(points), max(points)))
        cells = [f"{points[-1][0]:.5g}", *ends]
        rows.append(f'<tr><th scope="row">{_said(s.label)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    head = "<tr><th>metric</th><th>last</th><th>lowest</th><th>highest</th></tr>"
    return (
        f'<section id="metrics"><h2>Metrics</h2><div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _settings(run: History) -> str:
    groups: dict[str, list[settings.Row]] = {}
    for row in settings.rows(run.config):
        groups.setdefault(row.name.rpartition(".")[0] or "run", []).append(row)
    if not groups:
        return ""
    tables = "".join(_group(head, rows) for head, rows in groups.items())
    differing = sum(bool(row.preset) for rows in groups.values() for row in rows)
    note = f", of which {differing} not as the preset has them" if differing else ""
    total = sum(len(rows) for rows in groups.values())
    return (
        '<section id="settings"><h2>Configuration</h2><div class="tools"><input type="search" id="find" '
        f'placeholder="find a setting" aria-label="find a setting"><small>{total} settings{note}</small></div>'
        f"{tables}</section>"
    )


def _group(head: str, rows: list[settings.Row]) -> str:
    """A part of the configuration, folded unless something in it differs from the preset."""
    lines = []
    for row in rows:
        mark = f" <small>preset: {_said(row.preset)}</small>" if row.preset else ""
        lines.append(
            f'<tr{" class=differs" if row.preset else ""}><th scope="row">{_said(row.name.rpartition(".")[2])}</th>'
            f"<td>{_said(row.value)}{mark}</td><td><code>{_said(row.option)}</code></td></tr>"
        )
    opened = " open" if any(row.preset for row in rows) else ""
    return f"<details{opened}><summary>{_said(head)}</summary><table>{''.join(lines)}</table></details>"


def _commands(run: History) -> str:
    commands = list(dict.fromkeys(line for line in run.log if COMMAND.match(line)))
    if not commands:
        return ""
    head, text = "Commands" if len(commands) > 1 else "Command", "\n".join(commands)
    return f'<section id="commands"><h2>{head}</h2><pre>{_said(text)}</pre></section>'


def _log(run: History) -> str:
    """Sentences of the log, and the end of it as it is."""
    if not run.log:
        return ""
    # Tables are set in columns, with more than one blank between them; heads and rules are no sentences.
    plain = (line for line in run.log if "  " not in line and len(line.split()) > 2)
    notes = [line for line in dict.fromkeys(plain) if not STATUS.match(line) and not COMMAND.match(line)]
    listed = "".join(f"<li>{_said(line)}</li>" for line in notes)
    last = run.log[-LOG_LINES:]
    end = "\n".join(last)
    return (
        f'<section id="log"><h2>Log</h2><ul>{listed}</ul>'
        f"<details><summary>the last {len(last)} lines</summary><pre>{_said(end)}</pre></details></section>"
    )
