"""Writes pictures as shards, and beside them the index by which they are opened without being read first."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from PIL import Image

from imaging import png
from imaging.shards import publication
from imaging.shards.layout import Growing, Layout, sample_key
from system.files import beside


class ShardWriter:
    """Writes shards, in a `with` block: they appear at its end, all of them, or not at all.

    `Layout` says what `dest` may be. Pictures are PNGs without compression and filter, labels .cls files: quick to
    read, and the same bytes on every machine.
    """

    def __init__(self, dest: str | Path, shard_size: int = 0) -> None:
        """Raises ValueError when `dest` cannot name shards, or `shard_size` does not apply to it."""
        self.layout = Layout(dest, shard_size)
        self.about: dict[str, Any] = {}  # further keys of the index
        self._shards: list[Growing] = []
        self._count = self._labelled = 0
        self._end = ExitStack()

    def __enter__(self) -> Self:
        self.layout.check_vacant()
        self._folder = self._end.enter_context(beside(self.layout.index))
        return self

    def add(self, image: Image.Image, label: int | None = None) -> str:
        """Append a picture, and return the name it got. Label all pictures or none."""
        number, key = self.layout.number(self._count), sample_key(self._count)
        if number == len(self._shards):
            self._shards.append(Growing(self._folder / f"{number}"))
        self._shards[number].append(key, png.encode(image), None if label is None else int(label))
        self._count += 1
        self._labelled += label is not None
        return f"{key}.png"

    def __exit__(self, *failure: Any) -> None:
        with self._end:
            if failure[0] is None:
                self._finish()

    def _finish(self) -> None:
        self.layout.check_count(self._count)
        if self._labelled not in (0, self._count):
            raise ValueError(f"only {self._labelled} of the {self._count} images for {self.layout.dest} have a label")
        for shard in self._shards:
            shard.finish()
        rows = [shard.row(self.layout.path(number).name) for number, shard in enumerate(self._shards)]
        publication.begin(self._folder, self.layout, rows, self.about, ())
        self.layout.check_vacant()
        publication.finish(self._folder, self.layout)
