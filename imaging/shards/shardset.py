"""The images of shards as a set to train on, in memory that does not grow with their number."""

import hashlib
import io
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from imaging.imageset import Classes, ImageSet, notes_on_modes, run_name
from imaging.labels import note_on
from imaging.picture import decode
from imaging.pixels import MODES, from_pil
from imaging.shards.index import read_index
from imaging.shards.opening import ChangedError, OpenedShards, open_shard
from imaging.shards.order import WINDOW, ShardOrder
from imaging.shards.pattern import find_shards, prefix
from imaging.shards.remote import displayed
from imaging.shards.row import Index
from imaging.shards.store import Store
from imaging.shards.survey import are_labeled, names_of_classes, one_size
from imaging.shards.table import name_at
from imaging.sizes import conversion, spell
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
        self._store = Store(shards, WINDOW + 1)
        index, note = read_index(pattern, shards, labels == "auto", self._store)
        taken = draw_shards([row.samples for row in index.shards], max_images)
        self.shards = [shards[i] for i in taken]
        self.rows = [index.shards[i] for i in taken]
        self.samples = np.array(list(taken.values()), dtype=np.int64)  # [shards], used of each
        self._starts = np.cumsum(self.samples) - self.samples
        self._open: OrderedDict[int, OpenedShards] = OrderedDict()
        self._owner = os.getpid()
        self._order: ShardOrder | None = None
        self._window = (-1, -1)
        self._labeled = labels == "auto" and are_labeled(index.shards)
        height, width = one_size(pattern, self.shards, self.rows, self._store)
        modes = Counter[str]()
        for row in self.rows:
            modes.update({str(mode): count for mode, count in row.modes.items()})
        self._mode = richest(set(modes))
        channels = {mode: channels for channels, mode in MODES.items()}[self._mode]
        classes = self._classes(index, labels)
        summary = [[row.name, row.bytes, row.digest, int(n)] for row, n in zip(self.rows, self.samples, strict=True)]
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
        offset, size = int(table.offsets[sample]), int(table.sizes[sample])
        shard = self.shards[number].displayed
        try:
            file.seek(offset)
            image = decode(io.BytesIO(file.read(size)), "the image", self._mode)
        except (ValueError, OSError) as error:
            name = f"{name_at(file, shard, offset)} in {shard}"
            raise ValueError(
                f"{str(error).replace('the image', name, 1)}; copy or make the shard again, or leave it out of --data"
            ) from error
        if image.size != (self.width, self.height):
            raise self._changed(number)
        return from_pil(image)

    def label(self, index: int) -> int:
        if not self._labeled:
            return 0
        number, sample = self._place(index)
        return int(self._opened(number).table.labels[sample])

    def examples(self, label: int) -> np.ndarray:
        """As `ImageSet.examples`, of the first shard that has the class."""
        if not self._labeled:
            return np.arange(self.samples[0])
        for number, row in enumerate(self.rows):
            if row.labels and row.labels.get(label):
                labels = self._opened(number).table.labels[: self.samples[number]]
                if len(found := (labels == label).nonzero()[0]):
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

    def _opened(self, number: int) -> OpenedShards:
        """A shard, open, and its table. The least recently used shards are closed."""
        if self._owner != os.getpid():  # a file inherited over a fork would share its place with the parent's
            self._open, self._owner = OrderedDict(), os.getpid()
        if number not in self._open:
            while len(self._open) >= 2 * WINDOW:
                self._open.popitem(last=False)[1].file.close()
            try:
                shard, row = self.shards[number], self.rows[number]
                self._open[number] = open_shard(shard, row, self._labeled, self._store)
            except ChangedError as error:
                raise self._changed(number) from error
        self._open.move_to_end(number)
        return self._open[number]

    def _changed(self, number: int) -> ValueError:
        return ValueError(
            f"{self.shards[number].displayed} has changed since its contents were listed: restore the old shard, or "
            f"remove {displayed(prefix(self.pattern))}-index.json, if there is one, and start a new run"
        )

    def _classes(self, index: Index, choice: str) -> Classes:
        if not self._labeled:
            why = "labels are not used" if choice == "none" else "the set is unlabeled, since it has no .cls files"
            return Classes((), np.zeros(0, dtype=np.int64), why)
        counts = Counter[int]()
        for number, row in enumerate(self.rows):
            if row.samples == self.samples[number]:
                counts.update(row.labels or {})
            else:
                counts.update(self._opened(number).table.labels[: self.samples[number]].tolist())
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
