"""Which classes a network knows, as its file's metadata tell it."""

from collections.abc import Mapping, Sequence
from typing import Any


def learned_classes(metadata: Mapping[str, Any], classes: int) -> list[int]:
    """The numbers of the classes that a network was trained on, ascending.

    A data set may have empty classes, and a network's pictures of those are noise. Returns all `classes` if the
    metadata do not count the images of each class.
    """
    data = metadata.get("data")
    counts = data.get("class_counts") if isinstance(data, dict) else None
    if not isinstance(counts, list) or len(counts) != classes or not all(isinstance(n, int) for n in counts):
        return list(range(classes))
    return [k for k, count in enumerate(counts) if count > 0] or list(range(classes))


def class_of(seed: int, label: int | None, learned: Sequence[int]) -> int | None:
    """The class of a seed's picture: `label`, or without it the learned classes in turn; None without classes."""
    return learned[seed % len(learned)] if label is None and learned else label
