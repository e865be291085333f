"""What the shards of a set have in common, or should have: one size, one mode, labels for all or for none."""

from collections import Counter
from collections.abc import Sequence

from imaging import remedies
from imaging.shards.index import header_of
from imaging.shards.opening import open_file
from imaging.shards.pattern import Shard
from imaging.shards.remote import shown
from imaging.shards.row import Index, Row
from imaging.shards.store import Store
from imaging.shards.table import pictures
from imaging.sizes import check_area, parse_size, spell


def are_labelled(rows: Sequence[Row]) -> bool:
    """Whether the shards have labels. ValueError when some have them and some do not."""
    with_labels = [row.name for row in rows if row.labels is not None]
    if 0 < len(with_labels) < len(rows):
        without = next(row.name for row in rows if row.labels is None)
        raise ValueError(
            f"{with_labels[0]} has labels and {without} has none: label the samples of all shards, or use --labels none"
        )
    return bool(with_labels)


def names_of_classes(index: Index | None, count: int) -> tuple[str, ...]:
    """Those that the index gives, if they are enough for so many classes, or else their numbers."""
    given = index.class_names if index is not None else None
    return given if given is not None and len(given) >= count else tuple(map(str, range(count)))


def one_size(pattern: str, shards: Sequence[Shard], rows: Sequence[Row], store: Store) -> tuple[int, int]:
    """(height, width) of all pictures; ValueError with the command that mends the set when they differ."""
    sizes = sum((Counter(row.sizes) for row in rows), Counter[str]())
    common = sizes.most_common(1)[0][0]
    height, width = parse_size(common)
    counts = Counter({parse_size(size): count for size, count in sizes.items()})
    command = remedies.one_size(pattern, counts, "-%06d.tar")
    if len(sizes) > 1:
        number = next(i for i, row in enumerate(rows) if set(row.sizes) != {common})
        odd = next(size for size in rows[number].sizes if size != common)
        name = _name_of(odd, shards[number], store)
        raise ValueError(
            f"{shown(pattern)} holds pictures of different sizes, mostly {common}, but {name} has {odd}: {command}"
        )
    check_area(height, width)
    return height, width


def _name_of(size: str, shard: Shard, store: Store) -> str:
    """The first picture of a size in a shard, by name."""
    with open_file(store.path(shard), shard.shown) as file:
        for picture in pictures(file, shard.shown):
            header = header_of(file, picture, shard.shown)
            if spell(header.height, header.width) == size:
                return f"{picture.name} in {shard.name}"
    return f"a picture in {shard.name}"
