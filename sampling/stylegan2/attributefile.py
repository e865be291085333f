"""Attributes of pictures of `generate.py`, written down by somebody who looked at them: CSV, TSV or JSON.

    seed,smile,age        {"0": {"smile": 1, "age": 31.5}, "seed0001.png": {"smile": 0}}
    0,yes,31.5            [{"seed": 0, "smile": true, "age": 31.5}, ...]
    seed0001.png,no,

A row is a picture, named by its seed or file; a column is an attribute: numbers, or yes and no; empty if unknown.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from system.text import printable, shown
from torch_utils.flags import MAX_SEED

PLACES = ("seed", "picture", "file", "image", "name")  # names of the column of pictures
WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
SUFFIXES = (".csv", ".tsv", ".json")
LARGEST = 2**27  # bytes of a file
MOST_ATTRIBUTES = 1000
MOST_CELLS = 20_000_000  # pictures times attributes

Row = tuple[str, dict[str, Any]]  # line or entry for errors, the picture and its attributes


class Attributes(NamedTuple):
    """Attributes of pictures: their seeds, and values [N, K], nan where unknown."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Tensor


def read_attributes(path: Path) -> Attributes:
    """Read a file of attributes. Raise FileNotFoundError, or ValueError with the line and the mistake."""
    kind = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give a CSV or JSON of seeds and their attributes")
    if kind not in SUFFIXES:
        raise ValueError(f"{path} is not a file of labels: its name must end in {', '.join(SUFFIXES)}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST >> 20} MiB: give a file of seeds and their attributes alone")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    rows = list(_json_rows(path, text) if kind == ".json" else _csv_rows(path, text))
    pictures = [_picture(row) for _, row in rows]
    names = tuple(dict.fromkeys(name for _, row in rows for name in row))
    if not rows or not names:
        raise ValueError(f"{path} holds no labels: write a line for each picture, and a column for each attribute")
    _check_count(path, len(names), len(rows))
    lines: dict[int, list[float]] = {}
    for picture, (place, row) in zip(pictures, rows, strict=True):
        seed = _seed(place, picture)
        if seed in lines:
            raise ValueError(f"{place} labels seed {seed} a second time: remove one of the rows")
        lines[seed] = [_number(place, name, row.get(name)) for name in names]
    return Attributes(names, tuple(lines), torch.tensor(list(lines.values()), dtype=torch.float64))


def _picture(row: dict[str, Any]) -> str:
    """Take the name of the picture out of a row."""
    found = row.pop(next((name for name in PLACES if name in row), ""), None)
    return str(found) if isinstance(found, str) or type(found) is int else ""


def _check_count(path: Path, attributes: int, pictures: int = 1) -> None:
    if attributes > MOST_ATTRIBUTES or attributes * pictures > MOST_CELLS:
        raise ValueError(
            f"{path} has {attributes:,} attributes of {pictures:,} pictures, more than {MOST_ATTRIBUTES:,} "
            f"attributes or {MOST_CELLS:,} cells: leave some out"
        )


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    separator = next((mark for mark in "\t;," if mark in text.partition("\n")[0]), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            place = f"line {reader.line_num} of {path}"
            if not any(cells):
                continue
            if not header:
                header = _header(path, cells)
            elif len(cells) != len(header):
                raise ValueError(
                    f"{place} has {len(cells)} cells, but the first line has {len(header)}: make them equal"
                )
            else:
                yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {path} is not valid CSV ({error}): correct it") from error


def _header(path: Path, cells: list[str]) -> list[str]:
    """The names of the columns, that of the pictures in lower case."""
    _check_count(path, len(cells) - 1)
    lowered = [cell.lower() for cell in cells]
    found = next((name for name in PLACES if name in lowered), None)
    if found is None:
        raise ValueError(f"the first line of {path} has no column of pictures: name one column seed")
    cells[lowered.index(found)] = found
    if len(set(cells)) < len(cells):
        twice = next(name for name in cells if cells.count(name) > 1)
        raise ValueError(f"the first line of {path} has two columns {shown(twice)}: rename one")
    return cells


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of too many digits are ValueErrors
        raise ValueError(f"{path} is not valid JSON: {printable(str(error))}") from error
    rows = content.values() if isinstance(content, dict) else content if isinstance(content, list) else [None]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f'{path} must hold {{"SEED": {{"ATTRIBUTE": value, ...}}, ...}} or a list of objects with a seed each'
        )
    if isinstance(content, dict):
        yield from ((f"entry {printable(name, 60)} of {path}", row | {"seed": name}) for name, row in content.items())
    else:
        yield from ((f"entry {number} of {path}", row) for number, row in enumerate(content, start=1))


def _seed(place: str, picture: str) -> int:
    """The seed in a picture's name: a number, or a file name of generate.py."""
    found = re.fullmatch(r"(?:.*[/\\])?(?:seed)?([0-9]{1,10})(?:\.(?:png|webp|jpg))?", picture)
    if found is None or int(found[1]) > MAX_SEED:
        given = f"got {shown(picture)} as" if picture else "lacks"
        raise ValueError(f"{place} {given} the seed of its picture: write a number or a name such as seed0004.png")
    return int(found[1])


def _number(place: str, name: str, cell: Any) -> float:
    """A cell as a number; nan if it is empty."""
    if cell is None or cell == "":
        return math.nan
    try:
        value = WORDS[cell.lower()] if isinstance(cell, str) and cell.lower() in WORDS else float(cell)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{place} gives {printable(name, 60)} the value {shown(cell)}: write numbers, or yes and no; "
            f"for a choice of several, write a column for each"
        )
    return value
