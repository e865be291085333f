"""Which class each picture has: from `dataset.json`, from the sub-folders, or none."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imaging.archive import INDEX, Archive

MOST_CLASSES = 100_000
UNUSED = "labels are not used"


@dataclass(frozen=True)
class Labels:
    """Classes of the pictures of a set. `values` is int64 [pictures], all zero when there are no classes."""

    values: np.ndarray
    class_names: tuple[str, ...]  # empty when unlabelled
    origin: str  # in words: where the labels are from, or why there are none

    def of(self, chosen: np.ndarray) -> "Labels":
        """The labels of some of the pictures; the classes stay as they are."""
        return Labels(self.values[chosen], self.class_names, self.origin)

    @property
    def note(self) -> str:
        """One sentence: which labels were taken, and what is strange about them."""
        if not self.class_names:
            return self.origin
        return note_on(self.origin, np.bincount(self.values, minlength=len(self.class_names)))


def note_on(origin: str, counts: np.ndarray) -> str:
    """One sentence on classes of so many pictures each."""
    classes, empty = len(counts), int((counts == 0).sum())
    if classes == 1:
        return f"{origin}: 1 class, so that all images are alike; --labels none leaves it out"
    return f"{origin}: {classes} classes" + (f", {empty} of them without images" if empty else "")


def take_labels(archive: Archive, choice: Literal["auto", "none", "folders"]) -> Labels:
    """The labels of `archive.names`, in that order.

    "auto" takes those of dataset.json where it has some; "folders" makes every sub-folder a class. ValueError says
    which picture's label is wrong, how, and what to do.
    """
    if choice == "folders":
        return from_folders(archive.path, archive.names)
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
    if folders and not all(re.fullmatch(r"\d{5}", folder) for folder in folders):  # 00000, 00001: just the layout
        reason += " (--labels folders would make each sub-folder a class)"
    return without(len(archive.names), f"the set is unlabelled, for it {reason}")


def without(count: int, note: str) -> Labels:
    """No labels for `count` pictures, and in words why."""
    return Labels(np.zeros(count, dtype=np.int64), (), note)


def _from_index(archive: Archive, labels: dict[str, Any]) -> Labels:
    where = f"{INDEX} of {archive.path}"
    known = set(archive.names)
    if unknown := [name for name in labels if name not in known]:
        raise ValueError(f"{where} labels {some(unknown)}, which the archive does not hold")
    if missing := [name for name in archive.names if name not in labels]:
        raise ValueError(f"{where} has no label for {some(missing)}")
    for name, label in labels.items():
        check(label, f"the label of {name} in {where}")
    values = np.array([labels[name] for name in archive.names], dtype=np.int64)
    classes = int(values.max()) + 1
    names = archive.class_names
    if len(names) < classes:
        names = tuple(map(str, range(classes)))
    return Labels(values, names, "labels from dataset.json")


def check(label: Any, what: str) -> None:
    """ValueError, in which `what` says whose label it is, unless it is a class number."""
    if isinstance(label, list):
        raise ValueError(f"{what} is a vector: labels must be class numbers 0, 1, 2, ..., one for each image")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < MOST_CLASSES:
        raise ValueError(f"{what} is {label!r}: labels must be class numbers 0, 1, 2, ... below {MOST_CLASSES}")


def from_folders(path: Path, names: Sequence[str]) -> Labels:
    """Each sub-folder a class. `names` are those of the pictures at `path`; ValueError when some lie in none."""
    found = _folders(names)
    if not found:
        loose = next((name for name in names if "/" not in name), names[0])
        raise ValueError(
            f"{path} has no sub-folder for each class ({loose} lies in none): put every image into a "
            f"sub-folder named after its class, or use --labels auto"
        )
    class_names = tuple(sorted(set(found)))
    number = {name: i for i, name in enumerate(class_names)}
    values = np.array([number[name] for name in found], dtype=np.int64)
    return Labels(values, class_names, "labels from sub-folders")


def _folders(names: Sequence[str]) -> list[str]:
    """The class folder of each picture: the first one below the folders common to all. Empty when some have none."""
    parents = [name.split("/")[:-1] for name in names]
    depth = 0
    while all(len(parent) > depth for parent in parents):
        found = [parent[depth] for parent in parents]
        if len(set(found)) > 1:
            return found
        depth += 1
    return []


def some(names: Iterable[str]) -> str:
    """The first name, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
