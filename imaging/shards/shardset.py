"""The images of shards as a set to train on, in memory that does not grow with their number."""

import hashlib
import io
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Literal

import numpy as np

from imaging.imageset import WINDOW, Classes, ImageSet, ShardOrder, notes_on_modes, run_name
from imaging.labels import UNUSED, note_on
from imaging.picture import decode
from imaging.pixels import from_pil
from imaging.shards.index import Index, find_shards, names_of_classes, prefix, read_index
from imaging.shards.store import Store, displayed
from imaging.shards.table import Table, header_of, samples, table_of
from imaging.sizes import check_area, conversion, one_size, parse_size, spell
from imaging.transforms import richest


class ShardSet(ImageSet):
    """The samples of the shards that match a pattern.

    Each process that reads holds a few numbers for every shard, and the tables of the shards that it has open. With
    `max_images`, whole shards are drawn at random, always the same ones, and the beginning of one more.
    """

    def __init__(self, pattern: str, labels: Literal["auto", "none"], mirror: bool, max_images: int = 0) -> None:
        """Raises FileNotFoundError or ValueError, which say what is wrong with the shards and what to do."""
        self.pattern = pattern
        shards = find_shards(pattern)
        self._store, self._with_labels = Store(shards, WINDOW + 1), labels == "auto"
        index, note = read_index(pattern, shards, self._with_labels, self._store)
        taken = draw_shards([row.samples for row in index.shards], max_images)
        self.shards = [shards[i] for i in taken]
        self.rows = [index.shards[i] for i in taken]
        self.samples = np.array(list(taken.values()), dtype=np.int64)  # [shards], used of each
        self._starts = np.cumsum(self.samples) - self.samples
        self._open: OrderedDict[int, tuple[BinaryIO, Table]] = OrderedDict()
        self._owner = os.getpid()
        self._order: ShardOrder | None = None
        self._window = (-1, -1)
        without = next((row.name for row in index.shards if row.labels is None), None)
        labeled = next((row.name for row in index.shards if row.labels is not None), None)
        self._labeled = self._with_labels and labeled is not None
        if self._labeled and without is not None:
            raise ValueError(
                f"{labeled} has labels but {without} has none: label the samples of all shards, or use --labels none"
            )
        height, width = self._one_size()
        modes = sum((Counter[str](row.modes) for row in self.rows), Counter[str]())
        self._mode = richest(set(modes))
        classes = self._classes(index)
        summary = [[row.name, row.bytes, row.digest, int(n)] for row, n in zip(self.rows, self.samples, strict=True)]
        channels = len(self._mode)
        about = [summary, classes.names, classes.counts.tolist(), height, width, channels, mirror]
        fingerprint = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        name, count = run_name(prefix(pattern).rpartition("/")[2]) or "shards", int(self.samples.sum())
        super().__init__(name, height, width, channels, count, classes, mirror, fingerprint)
        self.notes = tuple(filter(None, [note, *notes_on_modes(modes)]))

    def index_at(self, seed: int, position: int) -> int:
        """As `ImageSet.index_at`, of the sharded shuffle. Downloads the next shards in the background."""
        if self._order is None or self._order.seed != seed:
            self._order = ShardOrder(self.samples * (2 if self.mirror else 1), seed)
        place = self._order.at(position)
        if self._window != (place.epoch, place.window):
            self._window = (place.epoch, place.window)
            near = [shard for step in (0, 1) for shard in self._order.shards_of(place.epoch, place.window + step)]
            self._store.expect(self.shards[shard] for shard in dict.fromkeys(near))
        mirrored, sample = divmod(place.sample, int(self.samples[place.shard]))
        return mirrored * self.count + int(self._starts[place.shard]) + sample

    def read(self, index: int) -> np.ndarray:
        number, sample = self._place(index)
        file, table = self._opened(number)
        offset = int(table.offsets[sample])
        try:
            file.seek(offset)
            image = decode(io.BytesIO(file.read(int(table.sizes[sample]))), "the image", self._mode)
        except (ValueError, OSError) as error:
            shard = self.shards[number].displayed
            name = next((each.name for each, _ in samples(file, shard) if each.offset == offset), f"image {sample}")
            raise ValueError(
                f"{str(error).replace('the image', f'{name} in {shard}', 1)}; copy or make the shard again, or leave "
                f"it out of --data"
            ) from error
        if image.size != (self.width, self.height):
            raise self._changed(number)
        return from_pil(image)

    def label(self, index: int) -> int:
        if not self._labeled:
            return 0
        number, sample = self._place(index)
        return int(self._opened(number)[1].labels[sample])

    def examples(self, label: int) -> np.ndarray:
        """As `ImageSet.examples`, of the first shard that has the class."""
        if not self._labeled:
            return np.arange(self.samples[0])
        for number, row in enumerate(self.rows):
            if row.labels and label in row.labels:
                found = (self._labels(number) == label).nonzero()[0]
                if len(found):
                    return found + self._starts[number]
        return np.zeros(0, dtype=np.int64)

    def resized(self, height: int, width: int) -> str:
        size = spell(height, width)
        command = conversion(self.pattern, size, "-%06d.tar", sized=True)
        return f"make them {size} with `{command}`"

    def _place(self, index: int) -> tuple[int, int]:
        """(shard, sample in it) of an image."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])

    def _opened(self, number: int) -> tuple[BinaryIO, Table]:
        """A shard, open, and its table. The least recently used shards are closed."""
        if self._owner != os.getpid():  # a file inherited over a fork would share its place with the parent's
            self._open, self._owner = OrderedDict(), os.getpid()
        if number not in self._open:
            shard, row = self.shards[number], self.rows[number]
            file = self._store.open(shard)
            if shard.is_local:  # it may have changed since the set was opened; names of copies guarantee the content
                state = os.fstat(file.fileno())
                shard = replace(shard, bytes=state.st_size, mark=str(state.st_mtime_ns))
            table = table_of(shard, self._with_labels, self._store)
            found = table.row
            alike = (found.digest, found.samples) == (row.digest, row.samples)
            if not alike or (self._labeled and found.labels != row.labels):
                file.close()
                raise self._changed(number)
            self._open[number] = file, table
            while len(self._open) > 2 * WINDOW:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(number)
        return self._open[number]

    def _labels(self, number: int) -> np.ndarray:
        """Classes of the used samples of a shard."""
        return self._opened(number)[1].labels[: self.samples[number]]

    def _changed(self, number: int) -> ValueError:
        return ValueError(
            f"{self.shards[number].displayed} has changed since its contents were listed: restore the old shard, or "
            f"remove {displayed(prefix(self.pattern))}-index.json, if there is one, and start a new run"
        )

    def _one_size(self) -> tuple[int, int]:
        """(height, width) of all images. ValueError, with the command that makes a set of one size, if they differ."""
        counts = sum((Counter(row.sizes) for row in self.rows), Counter[str]())
        sizes = Counter({parse_size(size): count for size, count in counts.items()})
        common = sizes.most_common(1)[0][0]
        check_area(*common)
        if len(sizes) == 1:
            return common
        shard = next(s for s, row in zip(self.shards, self.rows, strict=True) if set(row.sizes) != {spell(*common)})
        with self._store.open(shard) as file:
            for picture, _ in samples(file, shard.displayed):
                odd = spell(*header_of(file, picture, shard.displayed)[1::-1])
                if odd != spell(*common):
                    break
        raise ValueError(
            f"{displayed(self.pattern)} holds images of different sizes, mostly {spell(*common)}, but {picture.name} "
            f"in {shard.name} has {odd}: {one_size(self.pattern, sizes, '-%06d.tar')}"
        )

    def _classes(self, index: Index) -> Classes:
        if not self._labeled:
            why = "the set is unlabeled, since it has no .cls files" if self._with_labels else UNUSED
            return Classes((), np.zeros(0, dtype=np.int64), why)
        counts = Counter[int]()
        for number, row in enumerate(self.rows):
            whole = row.samples == self.samples[number]
            counts.update(row.labels or {} if whole else self._labels(number).tolist())
        count = 1 + max(max(row.labels or [0]) for row in index.shards)  # of the whole set
        names = names_of_classes(index, count)
        values = np.array([counts[i] for i in range(len(names))], dtype=np.int64)
        return Classes(names, values, note_on("labels from the shards", values))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}


def draw_shards(counts: Sequence[int], most: int) -> dict[int, int]:
    """Which shards are used (ascending), and how many samples of each: all, or at most `most` in total."""
    if not 0 < most < sum(counts):
        return dict(enumerate(counts))
    taken = {}
    for number in np.random.RandomState(0).permutation(len(counts)).tolist():
        taken[number] = min(counts[number], most)
        most -= taken[number]
        if not most:
            break
    return dict(sorted(taken.items()))
