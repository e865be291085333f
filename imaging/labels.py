"""The class of each image: from `dataset.json`, from the sub-folders, from a CSV or JSON file of the user, or none."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from imaging.archive import INDEX, Archive
from imaging.filenames import some
from imaging.opening import LARGEST_FILE, Bounded, open_file, parsing
from system.text import printable, shown
from system.untrusted import json_object

MOST_CLASSES = 100_000
UNUSED = "labels are not used"
CODES_FROM = 10**9  # larger numbers are names (of products, of people)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LONGEST_NUMBER = 40  # letters
THOUSAND = 1000  # images in each folder of numbered images
SUFFIXES = (".csv", ".tsv", ".json")  # of files of labels
FILES = {"file", "filename", "file_name", "name", "image", "path", "id", "image_id"}  # titles of a CSV's columns
LABELS = {"label", "labels", "class", "category", "target"}
FORM = 'write {"file": label, ...} or {"labels": [["file", label], ...]}'


@dataclass(frozen=True)
class Labels:
    """Classes of the images of a set. `values` is int64 [images], all zero without classes."""

    values: np.ndarray
    class_names: tuple[str, ...]  # empty if unlabeled
    origin: str  # in words: where the labels come from, or why there are none

    def __post_init__(self) -> None:
        """Make class names valid UTF-8; names of folders may have any bytes."""
        names = tuple(name.encode("utf-8", "backslashreplace").decode() for name in self.class_names)
        object.__setattr__(self, "class_names", names)

    def of(self, chosen: np.ndarray) -> "Labels":
        """The labels of some of the images, with all classes."""
        return Labels(self.values[chosen], self.class_names, self.origin)

    @property
    def note(self) -> str:
        """One sentence: where the labels come from, and what is odd about them."""
        if not self.class_names:
            return self.origin
        return note_on(self.origin, np.bincount(self.values, minlength=len(self.class_names)))


def note_on(origin: str, counts: np.ndarray) -> str:
    """One sentence on classes with these counts of images."""
    classes, empty = len(counts), int((counts == 0).sum())
    if classes == 1:
        return f"{origin}: 1 class, which tells nothing; --labels none leaves it out"
    return f"{origin}: {classes} classes" + (f", {empty} of them without images" if empty else "")


def take_labels(archive: Archive, choice: Literal["auto", "none", "folders"]) -> Labels:
    """The labels of `archive.names`, in that order.

    "auto" takes those of dataset.json, if it has any; "folders" makes every sub-folder a class. ValueError says which
    label is wrong, how, and what to do.
    """
    if choice == "folders":
        found = from_folders(archive.path, archive.names)
        unused = ", not from its dataset.json" if archive.index.get("labels") else ""
        return replace(found, origin=f"{found.origin}{unused}")
    if choice == "none":
        return without(len(archive.names), UNUSED)
    try:
        labels = archive.labels
        if labels is not None:
            return _from_index(archive, labels)
    except ValueError as error:
        raise ValueError(f"{error}: correct it, or use --labels none") from error
    reason = "has no labels in its dataset.json" if archive.index else "has no dataset.json"
    folders = _folders(archive.names)
    if folders and not _only_number(archive.names, folders):
        reason += " (--labels folders would make each sub-folder a class)"
    return without(len(archive.names), f"the set is unlabeled, since it {reason}")


def without(count: int, note: str) -> Labels:
    """No labels for `count` images; `note` says why."""
    return Labels(np.zeros(count, dtype=np.int64), (), note)


def _from_index(archive: Archive, labels: dict[str, Any]) -> Labels:
    where = f"{INDEX} of {archive.path}"
    if unknown := labels.keys() - set(archive.names):
        raise ValueError(f"{where} labels {some(sorted(unknown))}, which the archive does not hold")
    if missing := [name for name in archive.names if name not in labels]:
        raise ValueError(f"{where} has no label for {some(sorted(missing))}")
    numbers = [class_number(labels[name], f"the label of {printable(name)} in {where}") for name in archive.names]
    classes = max(numbers) + 1
    names = archive.class_names if len(archive.class_names) >= classes else tuple(map(str, range(classes)))
    return Labels(np.array(numbers, dtype=np.int64), names, "labels from dataset.json")


def class_number(label: Any, what: str) -> int:
    """The class number of a label in any spelling: 3, 3.0, "03". ValueError names others `what`."""
    found = number_of(label)
    if not isinstance(found, int) or not 0 <= found < MOST_CLASSES:
        raise ValueError(f"{what} is {shown(label)}: labels must be class numbers 0, 1, 2, ... below {MOST_CLASSES}")
    return found


def number_of(label: Any) -> int | float | None:
    """The number of a label, an int if it is whole: 10 for 10.0, "10", " 10", "010" and "1e1". None for others."""
    if isinstance(label, str):
        text = label.strip()
        if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
            return None
        label = float(text) if re.search("[.eE]", text) else int(text)
    if isinstance(label, bool) or not isinstance(label, int | float) or label - label != 0:  # infinite, or no number
        return None
    return int(label) if label == int(label) else label


def classes_of(labels: Sequence[Any], what: Callable[[int], str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class numbers and class names of labels.

    Numbers 0, 1, 2, ... in any spelling are class numbers. Texts are class names, numbered in the order of `in_order`,
    and so are numbers that cannot be class numbers, such as -1 and 1, or 0.5 and 1.5.

    `what` gives the name of label i for an error, such as "the label of a.png in labels.csv". ValueError if a label is
    neither a number nor a text, or both are mixed.
    """
    blank = next((i for i, label in enumerate(labels) if isinstance(label, str) and not label.strip()), None)
    if blank is not None:
        raise ValueError(f"{what(blank)} is empty: labels must be class numbers 0, 1, 2, ... or class names")
    numbers = [number_of(label) for label in labels]
    if None in numbers:
        names = [label.strip() for label in labels if isinstance(label, str)]
    else:
        are_classes = all(isinstance(number, int) and 0 <= number < CODES_FROM for number in numbers)
        names = [] if are_classes else list(map(str, numbers))
    if len(names) < len(labels):
        values = np.array([class_number(label, what(i)) for i, label in enumerate(labels)], dtype=np.int64)
        return values, tuple(map(str, range(int(values.max()) + 1)))
    return _numbered(names, f"{what(0)} and the others")


def _numbered(names: Sequence[str], what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class number of each name, in natural order, and all names."""
    classes = in_order(set(names))
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{what} name {len(classes)} classes, but at most {MOST_CLASSES} are possible")
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[name] for name in names], dtype=np.int64), classes


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in natural order: 2 before 10, `img2` before `img10`; -1, 0.5, 1 by value."""
    values = {name: number_of(name) for name in names}
    return tuple(sorted(values, key=_natural if None in values.values() else lambda name: (values[name], name)))


def _natural(name: str) -> tuple[Any, ...]:
    parts = re.split(r"([0-9]+)", name)  # text, digits, text, ...
    digits = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    return tuple(each for pair in zip_longest(parts[::2], digits, fillvalue=(0, "")) for each in pair), name


def from_folders(path: Path, names: Sequence[str]) -> Labels:
    """Each sub-folder a class. `names` are the images at `path`; ValueError if some are in no sub-folder."""
    found = _folders(names)
    lowest = found or [name.rpartition("/")[0].rpartition("/")[2] for name in names]
    if _only_number(names, lowest):
        raise ValueError(
            f"the sub-folders of {path} ({min(lowest)}, ...) only hold {THOUSAND} images each and are not classes: use "
            f"--labels auto, which takes the classes of dataset.json if it has some, or --labels none"
        )
    if not found:
        loose = next((name for name in names if "/" not in name), names[0])
        raise ValueError(
            f"{path} has no sub-folder for each class ({printable(loose)} is in none): put every image into a "
            f"sub-folder named after its class, or use --labels auto"
        )
    return Labels(*_numbered(found, f"the sub-folders of {path}"), "labels from sub-folders")


def _only_number(names: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether folders only split numbered images by thousands: 00012/img00012345.png, 12000/12345.png."""
    for name, folder in zip(names, folders, strict=True):
        digits = re.search(r"([0-9]{1,18})\.\w+$", name)
        thousands = int(digits[1]) // THOUSAND if digits else -1
        if not re.fullmatch("[0-9]{5}", folder) or int(folder) not in (thousands, thousands * THOUSAND):
            return False
    return True


def _folders(names: Sequence[str]) -> list[str]:
    """The class folder of each image: the first below the folders common to all. Empty if some images have none."""
    parents = [name.split("/")[:-1] for name in names]
    for depth in range(min(map(len, parents))):
        found = [parent[depth] for parent in parents]
        if len(set(found)) > 1:
            return found
    return []


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
    pairs, class_names = _from_json(path, text) if path.suffix.lower() == ".json" else (_from_csv(path, text), ())
    entries: dict[str, Any] = {}
    for name, label in pairs:
        name = name.replace("\\", "/").removeprefix("./")
        if name in entries:
            raise ValueError(f"{path} labels {printable(name)} twice: keep one")
        entries[name] = label
    if not entries:
        raise ValueError(f"{path} holds no labels: write a line for each image")
    labels, origin = _matched(path, entries, names), f"labels from {path.name}"
    if class_names and all(isinstance(label, str) for label in labels) and set(labels) <= set(class_names):
        numbers = {name: i for i, name in enumerate(class_names)}
        return Labels(np.array([numbers[label] for label in labels], dtype=np.int64), class_names, origin)
    try:
        values, known = classes_of(labels, lambda i: f"the label of {printable(names[i])} in {path}")
    except ValueError as error:
        raise ValueError(f"{error}: correct it, or write class names throughout") from None
    if class_names and known != tuple(map(str, range(len(known)))):
        strange = next(name for name in known if name not in class_names)
        raise ValueError(f"{path} has the label {printable(strange)}, which is not in its class_names: add it there")
    return Labels(values, class_names if len(class_names) >= len(known) else known, origin)


def _from_csv(path: Path, text: str) -> list[tuple[str, str]]:
    first = text.partition("\n")[0]
    separator = next((mark for mark in "\t;," if mark in first), ",")
    columns, pairs = (0, 1), []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            header = [[i for i, cell in enumerate(cells) if cell.lower() in known] for known in (FILES, LABELS)]
            if reader.line_num == 1 and all(header):
                columns = header[0][0], header[1][0]
            elif any(cells):
                if len(cells) <= max(columns):
                    raise ValueError(f"line {reader.line_num} of {path} has no label: write both in each line")
                pairs.append((cells[columns[0]], cells[columns[1]]))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {path} cannot be read ({error}): write file,label") from error
    return pairs


def _from_json(path: Path, text: str) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    content = json_object(text)
    if content is None:
        raise ValueError(f"{path} is not a JSON object: {FORM}")
    pairs = content.get("labels")
    if not isinstance(pairs, list):
        return list(content.items()), ()
    if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        raise ValueError(f"the labels of {path} must be a list of [name, class] pairs: {FORM}")
    names = content.get("class_names") or []
    if not isinstance(names, list) or len(names) > MOST_CLASSES or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the class_names of {path} must be a list of at most {MOST_CLASSES} names: correct it")
    return [(name, label) for name, label in pairs], tuple(names)


def _matched(path: Path, entries: dict[str, Any], names: Iterable[str]) -> list[Any]:
    """The label of each image. Every entry must match exactly one image."""
    taken: dict[str, str] = {}
    missing = []
    for name in names:
        bare = name.rpartition("/")[2]
        ways = (name, str(PurePosixPath(name).with_suffix("")), bare, bare.rpartition(".")[0])
        key = next((way for way in ways if way in entries), name)
        if key not in entries:
            missing.append(name)
        elif key in taken:
            both = f"{printable(taken[key])} or {printable(name)}"
            raise ValueError(f"{path} labels {printable(key)}, which may be {both}: write the whole name")
        taken[key] = name
    if missing:
        raise ValueError(f"{path} has no label for {some(sorted(missing))}: add what is missing")
    if unknown := entries.keys() - taken.keys():
        raise ValueError(f"{path} labels {some(sorted(unknown))}, which the source does not hold: remove that")
    return [entries[key] for key in taken]
