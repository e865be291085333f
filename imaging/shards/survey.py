"""What all shards of a set must have in common: one size, and labels for all samples or for none."""

from collections import Counter
from collections.abc import Sequence

from imaging.shards.index import header_of
from imaging.shards.pattern import Shard
from imaging.shards.remote import displayed
from imaging.shards.row import Index, Row
from imaging.shards.store import Store
from imaging.shards.table import pictures
from imaging.sizes import advised_conversion, check_area, parse_size, spell


def are_labeled(rows: Sequence[Row]) -> bool:
    """Whether the shards have labels. ValueError if only some have labels."""
    with_labels = [row.name for row in rows if row.labels is not None]
    if 0 < len(with_labels) < len(rows):
        without = next(row.name for row in rows if row.labels is None)
        raise ValueError(
            f"{with_labels[0]} has labels but {without} has none: label the samples of all shards, or use --labels none"
        )
    return bool(with_labels)


def names_of_classes(index: Index | None, count: int) -> tuple[str, ...]:
    """The class names in the index, if there are at least `count`; otherwise class numbers."""
    given = index.class_names if index is not None else None
    return given if given is not None and len(given) >= count else tuple(map(str, range(count)))


def one_size(pattern: str, shards: Sequence[Shard], rows: Sequence[Row], store: Store) -> tuple[int, int]:
    """(height, width) of all images; ValueError, with the command that makes a set of one size, if they differ."""
    sizes = sum((Counter(row.sizes) for row in rows), Counter[str]())
    common = sizes.most_common(1)[0][0]
    if len(sizes) > 1:
        number = next(i for i, row in enumerate(rows) if set(row.sizes) != {common})
        odd = next(size for size in rows[number].sizes if size != common)
        counts = Counter({parse_size(size): count for size, count in sizes.items()})
        raise ValueError(
            f"{displayed(pattern)} holds images of different sizes, mostly {common}, but "
            f"{_name_of(odd, shards[number], store)} has {odd}: {advised_conversion(pattern, counts, '-%06d.tar')}"
        )
    check_area(*parse_size(common))
    return parse_size(common)


def _name_of(size: str, shard: Shard, store: Store) -> str:
    """The name of the first image of a size in a shard."""
    with store.open(shard) as file:
        for picture in pictures(file, shard.displayed):
            header = header_of(file, picture, shard.displayed)
            if spell(header.height, header.width) == size:
                return f"{picture.name} in {shard.name}"
    return f"an image in {shard.name}"
