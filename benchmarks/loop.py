"""What the training loop of a run spent its time on: the phases, waiting for data, and everything else.

`python -m benchmarks.loop runs/00000-demo32-demo`

Reads `stats.jsonl`, which every run writes: the mean seconds of each phase and of waiting for a batch, how often each
phase ran, and the time of each status line. The rest is averages, sample sheets, network files, states, and judging.
"""

import json
from pathlib import Path
from typing import Any

import click

from torch_utils import runs
from torch_utils.cli import Command, option, say

EXAMPLES = """
Examples:
  python -m benchmarks.loop                            the latest run in runs
  python -m benchmarks.loop runs/00000-demo32-demo --json
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path), required=False)
@option("--json", "as_json", is_flag=True, group="Output", help="print JSON instead of a table")
def main(run: Path | None, as_json: bool) -> None:
    """Print what the training loop of the run folder RUN spent its time on."""
    folder = run or runs.latest("runs")
    if folder is None:
        raise ValueError("there is no run in the folder runs: give a run folder")
    records = [json.loads(line) for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    if len(records) < 2:
        raise ValueError(
            f"{folder} has {len(records)} status lines, and 2 are needed: train longer, or with --tick 0.1"
        )
    found = shares(records)
    say(json.dumps(found) if as_json else table(folder.name, found))


def shares(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds and images after the first status line, and each part's share of the seconds.

    Args:
        records: lines of `stats.jsonl`. The first one holds the start of the program.
    """
    parts: dict[str, float] = {}
    for record in records[1:]:
        calls = {
            name.removeprefix("gradients/"): value["count"] for name, value in record.items() if "gradients/" in name
        }
        calls["data"] = max(calls.values())
        for name, count in calls.items():
            parts[name] = parts.get(name, 0.0) + record.get(f"timing/{name}", 0.0) * count
    seconds = records[-1]["time/seconds"] - records[0]["time/seconds"]
    waiting = parts.pop("data")
    rows = {**parts, "waiting for data": waiting, "the rest": seconds - sum(parts.values()) - waiting}
    images = records[-1]["seen"] - records[0]["seen"]
    return {"seconds": seconds, "images": images, "shares": {name: part / seconds for name, part in rows.items()}}


def table(name: str, found: dict[str, Any]) -> str:
    """The shares as text."""
    lines = [f"{name}: {found['images']:,} images in {found['seconds']:.0f} s", ""]
    for part, share in found["shares"].items():
        lines.append(f"{part:<16}  {share:6.1%}  {share * found['seconds'] / found['images'] * 1e3:8.3f} ms per image")
    phases = sum(share for part, share in found["shares"].items() if part not in ("waiting for data", "the rest"))
    return "\n".join([*lines, "", f"the loop reaches {phases:.1%} of the images per second of bare phases"])


if __name__ == "__main__":
    main()
