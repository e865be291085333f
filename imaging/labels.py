"""The class of each image: from `dataset.json`, from the sub-folders, or none."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imaging.archive import INDEX, Archive
from imaging.names import some
from system.text import printable, shown

MOST_CLASSES = 100_000
UNUSED = "labels are not used"
CODES_FROM = 10**9  # larger numbers are names (of products, of people)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LONGEST_NUMBER = 40  # letters
THOUSAND = 1000  # images in each folder of numbered images


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
    known = set(archive.names)
    if unknown := [name for name in labels if name not in known]:
        raise ValueError(f"{where} labels {some(sorted(unknown))}, which the archive does not hold")
    if missing := [name for name in archive.names if name not in labels]:
        raise ValueError(f"{where} has no label for {some(sorted(missing))}")
    numbers = {name: check(label, f"the label of {printable(name)} in {where}") for name, label in labels.items()}
    values = np.array([numbers[name] for name in archive.names], dtype=np.int64)
    classes = int(values.max()) + 1
    names = archive.class_names
    if len(names) < classes:
        names = tuple(map(str, range(classes)))
    return Labels(values, names, "labels from dataset.json")


def check(label: Any, what: str) -> int:
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
        values = np.array([check(label, what(i)) for i, label in enumerate(labels)], dtype=np.int64)
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
    names = list(names)
    values = {name: number_of(name) for name in names}
    return tuple(sorted(names, key=_natural if None in values.values() else lambda name: (values[name], name)))


def _natural(name: str) -> tuple[Any, ...]:
    parts = re.split(r"([0-9]+)", name)  # text, digits, text, ...
    digits = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    return tuple(each for pair in zip_longest(parts[::2], digits, fillvalue=(0, "")) for each in pair), name


def from_folders(path: Path, names: Sequence[str]) -> Labels:
    """Each sub-folder a class. `names` are the images at `path`; ValueError if some are in no sub-folder."""
    found = _folders(names)
    lowest = found or [name.rpartition("/")[0].rpartition("/")[2] for name in names]
    if _only_number(names, lowest):
        folders = sorted(set(lowest))
        more = ", ..." if len(folders) > 1 else ""
        raise ValueError(
            f"the sub-folders of {path} ({folders[0]}{more}) only hold {THOUSAND} images each and are not classes: use "
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
    depth = 0
    while all(len(parent) > depth for parent in parents):
        found = [parent[depth] for parent in parents]
        if len(set(found)) > 1:
            return found
        depth += 1
    return []
