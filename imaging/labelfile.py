"""Labels that a user gives in a separate file: CSV, or JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from imaging.labels import MOST_CLASSES, Labels, classes_of
from imaging.names import some
from imaging.opening import LARGEST_FILE, Bounded, open_file, parsing
from system.text import printable
from system.untrusted import json_object

SUFFIXES = (".csv", ".tsv", ".json")
FILE_COLUMNS = ("file", "filename", "file_name", "name", "image", "path", "id", "image_id")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")


def read_label_file(path: Path, names: Sequence[str]) -> Labels:
    """The labels of the images `names` from a file.

    A CSV has the columns file and label (a header is optional; separators are commas, semicolons or tabs). A JSON is a
    mapping {name: label}, or has the form of `dataset.json`. Labels are as `classes_of` reads them. A file may be named
    without its folder or ending if that is unambiguous. ValueError says which entry is wrong and how.
    """
    with (
        parsing(path, f"UTF-8 text of at most {LARGEST_FILE} bytes", "give a file of labels, saved as UTF-8"),
        open_file(path) as file,
    ):
        text = Bounded(file, LARGEST_FILE).read().decode("utf-8-sig")
    entries, class_names = _from_json(path, text) if path.suffix.lower() == ".json" else (_from_csv(path, text), ())
    if not entries:
        raise ValueError(f"{path} holds no labels: write a line for each image")
    return _numbered(path, _matched(path, entries, names), class_names)


def _from_csv(path: Path, text: str) -> dict[str, Any]:
    first = text.partition("\n")[0]
    separator = next((mark for mark in "\t;," if mark in first), ",")
    file_column, label_column = 0, 1
    entries: dict[str, Any] = {}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            lowered = [cell.lower() for cell in cells]
            if reader.line_num == 1 and set(lowered) & set(FILE_COLUMNS) and set(lowered) & set(LABEL_COLUMNS):
                file_column = next(i for i, cell in enumerate(lowered) if cell in FILE_COLUMNS)
                label_column = next(i for i, cell in enumerate(lowered) if cell in LABEL_COLUMNS)
                continue
            if len(cells) <= max(file_column, label_column):
                raise ValueError(f"line {reader.line_num} of {path} has no label: write both in each line")
            _enter(path, entries, cells[file_column], cells[label_column])
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {path} cannot be read ({error}): write file,label") from error
    return entries


def _from_json(path: Path, text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    content = json_object(text)
    form = 'write {"file": label, ...} or {"labels": [["file", label], ...]}'
    if content is None:
        raise ValueError(f"{path} is not a JSON object: {form}")
    if not isinstance(content.get("labels"), list):
        return {_plain(name): label for name, label in content.items()}, ()
    entries: dict[str, Any] = {}
    for pair in content["labels"]:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError(f"the labels of {path} must be a list of [name, class] pairs: {form}")
        _enter(path, entries, *pair)
    names = content.get("class_names") or []
    if not isinstance(names, list) or len(names) > MOST_CLASSES or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the class_names of {path} must be a list of at most {MOST_CLASSES} names: correct it")
    return entries, tuple(names)


def _enter(path: Path, entries: dict[str, Any], name: str, label: Any) -> None:
    name = _plain(name)
    if name in entries:
        raise ValueError(f"{path} labels {printable(name)} twice: keep one")
    entries[name] = label


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _matched(path: Path, entries: dict[str, Any], names: Iterable[str]) -> list[tuple[str, Any]]:
    """The name and label of each image. Every entry must match exactly one image."""
    taken: dict[str, str] = {}
    found, missing = [], []
    for name in names:
        bare = name.rpartition("/")[2]
        ways = (name, str(PurePosixPath(name).with_suffix("")), bare, bare.rpartition(".")[0])
        key = next((way for way in ways if way in entries), None)
        if key is None:
            missing.append(name)
            continue
        if key in taken:
            both = f"{printable(taken[key])} or {printable(name)}"
            raise ValueError(f"{path} labels {printable(key)}, which may be {both}: write the whole name")
        taken[key] = name
        found.append((name, entries[key]))
    if missing:
        raise ValueError(f"{path} has no label for {some(sorted(missing))}: add what is missing")
    if unknown := entries.keys() - taken.keys():
        raise ValueError(f"{path} labels {some(sorted(unknown))}, which the source does not hold: remove that")
    return found


def _numbered(path: Path, found: list[tuple[str, Any]], class_names: tuple[str, ...]) -> Labels:
    origin, labels = f"labels from {path.name}", [label for _, label in found]
    if class_names and all(isinstance(label, str) for label in labels) and set(labels) <= set(class_names):
        numbers = {name: i for i, name in enumerate(class_names)}
        return Labels(np.array([numbers[label] for label in labels], dtype=np.int64), class_names, origin)
    try:
        values, names = classes_of(labels, lambda i: f"the label of {printable(found[i][0])} in {path}")
    except ValueError as error:
        raise ValueError(f"{error}: correct it, or write class names throughout") from None
    if class_names and names != tuple(map(str, range(len(names)))):
        strange = next(name for name in names if name not in class_names)
        raise ValueError(f"{path} has the label {printable(strange)}, which is not in its class_names: add it there")
    return Labels(values, class_names if len(class_names) >= len(names) else names, origin)
