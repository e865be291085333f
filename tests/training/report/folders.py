"""Run folders for tests of the page, made by hand; and a reader of pages."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from torch_utils.config import to_dict
from training.stylegan2 import config as presets

COMMAND = "python train.py --data 'cats & <dogs>.zip' --kimg 8"


def folder(tmp_path: Path, name: str = "00000-cats-auto", ticks: int = 8, sheets: int = 3) -> Path:
    """A run of 8 kimg, a tick every kimg, a sheet at each of the first few."""
    run = tmp_path / name
    run.mkdir()
    data = {"height": 16, "width": 16, "channels": 3, "classes": 0}
    config = presets.resolve("auto", data, {"pace.kimg": 8.0, "loss.gamma": 0.003, "data.path": "cats.zip"}, 1)
    (run / "config.json").write_text(json.dumps(to_dict(config), indent=2))
    lines = [json.dumps(record(1000 * i)) for i in range(1, ticks + 1)]
    (run / "stats.jsonl").write_text("".join(line + "\n" for line in lines))
    status = [f"kimg {i}.000    time 0m {i:02d}s      sec/kimg 1.00  img/s 9" for i in range(1, ticks + 1)]
    table = ["loss", "  gamma  10  --gamma"]
    log = [COMMAND, *table, "", "12 images 16x16, 3 channels, no classes: cats", *status]
    (run / "log.txt").write_text("".join(line + "\n" for line in log))
    Image.new("RGB", (64, 32), (9, 99, 200)).save(run / "reals.png")
    for i in range(sheets):
        Image.new("RGB", (64, 32), (40 * i, 150, 80)).save(run / f"fakes-{i:06d}.0.png")
    return run


def record(seen: int) -> dict[str, Any]:
    return {
        "seen": seen,
        "time/seconds": seen / 500,
        "memory/peak bytes": 3 * 2**30,
        "timing/images per second": 500 + seen / 1000,
        "timing/seconds per kimg": 2.0,
        "loss/G": {"mean": 1.2345678 + seen / 1e6, "std": 0.5, "count": 250},
        "scores/real": {"mean": -seen / 3, "std": 0.5, "count": 1000},
        "augment/p": {"mean": 0.25, "std": 0.0, "count": 60},
        "something/new": 7,
        "not told": None,
    }


class Page(HTMLParser):
    """What a page is made of: tags with attributes, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
