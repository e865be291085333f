"""A data set for training, from the path a user gave: an archive, a folder, shards, or the embedded demo set."""

import hashlib
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imaging import remedies
from imaging.archive import Archive, open_archive
from imaging.deep import Span, note, span_of
from imaging.demo import COUNT, DemoSet
from imaging.grid import GRID
from imaging.headers import read_facts
from imaging.imageset import ImageSet, ListedSet
from imaging.labels import Labels, take_labels
from imaging.names import some
from imaging.picture import Header, decode, is_sheet, read_range
from imaging.pixels import MODES, from_pil
from imaging.shards.pattern import is_shards
from imaging.shards.shardset import ShardSet
from imaging.sizes import base_size, parse_size, spell
from imaging.sources.recognition import unfit_for_training
from imaging.transforms import NAMES, is_opaque, richest
from system.urls import is_cut

MOST_LOOKED_AT = 200  # pictures, to find out which values those of more than 8 bits use, and whether any is transparent


class DataConfig(BaseModel):
    """Which pictures are learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        "demo",
        description="ZIP or folder of PNG, JPEG or WebP images of one size; WebDataset shards such as "
        "x-{0000..0999}.tar, here or behind a URL; `demo`, `demo:64` or `demo:96x64` is the embedded set of cartoon "
        "faces, at 32x32 or the size named",
        json_schema_extra={"flag": "--data", "group": "Data"},
    )
    labels: Literal["auto", "none", "folders"] = Field(
        "auto",
        description="classes: from dataset.json where there is one (auto), not at all, or one for each sub-folder",
        json_schema_extra={"flag": "--labels", "group": "Data"},
    )
    mirror: bool = Field(
        False,
        description="show every image also mirrored left to right",
        json_schema_extra={"flag": "--mirror", "group": "Data"},
    )
    max_images: int = Field(
        0,
        ge=0,
        description="use only this many images, drawn at random but always the same ones; 0 uses all",
        json_schema_extra={"flag": "--max-images", "group": "Data"},
    )


def open_dataset(config: DataConfig, with_sheets: bool = True) -> ImageSet:
    """The images that `config` names, every header checked.

    Without `with_sheets`, sheets of samples that this project's programs wrote among samples are passed over.
    ValueError or FileNotFoundError say in one sentence what is wrong with them and what to do.
    """
    if re.fullmatch("demo(:.*)?", config.path):
        return _open_demo(config)
    if is_cut(config.path):
        raise ValueError(f"{config.path} was recorded without its user name and password: give --data with them")
    if is_shards(config.path):
        return _open_shards(config)
    archive = _open_archive(Path(config.path))
    chosen = choose(len(archive.names), config.max_images)
    if not with_sheets:
        chosen = _without_sheets(archive, chosen)
    labels = take_labels(archive, config.labels).of(chosen)
    return ArchiveSet(archive, tuple(archive.names[i] for i in chosen), labels, config.mirror, config.labels)


def _open_archive(path: Path) -> Archive:
    """A ZIP or folder. Of anything else the error says what it is."""
    if path.is_file() and (foreign := unfit_for_training(path)):
        raise ValueError(foreign)
    try:
        return open_archive(path)
    except ValueError as error:
        raise ValueError((path.is_dir() and unfit_for_training(path)) or str(error)) from error


def _without_sheets(archive: Archive, chosen: np.ndarray) -> np.ndarray:
    """The chosen pictures but those that are sheets: of another size than most, and marked so or called `grid.png`."""
    names = [archive.names[i] for i in chosen]
    try:
        sizes = [facts.header[:2] for facts in read_facts(archive, names, nullcontext)]
    except ValueError:
        return chosen  # the set itself says which picture is broken, and what to do
    common = Counter(sizes).most_common(1)[0][0]
    found = []
    for name in (name for name, size in zip(names, sizes, strict=True) if size != common):
        with archive.open(name) as file:
            if is_sheet(file, name) or name.rpartition("/")[2] == GRID:
                found.append(name)
    if found:
        archive.passed.append(f"sheets of several images are passed over: {some(found)}")
    return np.array([i for i, name in zip(chosen, names, strict=True) if name not in found], dtype=np.int64)


def choose(count: int, most: int) -> np.ndarray:
    """Indices of the pictures used, ascending: all `count`, or `most` of them drawn at random, always the same ones."""
    indices = np.arange(count)
    if 0 < most < count:
        np.random.RandomState(0).shuffle(indices)
        indices = np.sort(indices[:most])
    return indices


class ArchiveSet(ListedSet):
    """The named pictures of an archive. Pictures of different modes are all read in the richest mode among them."""

    def __init__(
        self, archive: Archive, names: tuple[str, ...], labels: Labels, mirror: bool, labels_from: str = "auto"
    ) -> None:
        """Raises ValueError when a header cannot be read, sizes differ, or no network can have the size.

        `labels_from` is what --labels says, which commands that mend the set have to say again.
        """
        self.archive = archive
        self.names = names
        self.labels_from = labels_from
        facts = read_facts(archive, names, self._mending)
        headers = [each.header for each in facts]
        height, width = self._one_size(headers)
        modes = Counter(header.mode for header in headers)
        self._mode = richest(set(modes))
        channels = {mode: channels for channels, mode in MODES.items()}[self._mode]
        self._span = self._common_span(headers)

        def fingerprint(sums: Sequence[int], class_names: tuple[str, ...]) -> str:
            entries = [archive.entries[name] for name in names]
            identity = [(entry.raw, entry.size, sum_) for entry, sum_ in zip(entries, sums, strict=True)]
            summary = [identity, labels.values.tolist(), class_names, height, width, channels, mirror]
            return hashlib.sha256(json.dumps(summary).encode()).hexdigest()

        content, ends = [each.content for each in facts], [each.ends for each in facts]
        now = fingerprint(content, labels.class_names)
        super().__init__(_run_name(archive.path), height, width, channels, labels, mirror, now)
        # Earlier versions looked at the ends of files only, and took names of classes as folders spell them.
        decomposed = tuple(unicodedata.normalize("NFD", name) for name in labels.class_names)
        self.former_fingerprints = (fingerprint(ends, labels.class_names), fingerprint(ends, decomposed))
        self.notes = (*archive.passed, *self._notes_on_modes(modes, headers), *filter(None, [self._note_on_span()]))

    def read(self, index: int) -> np.ndarray:
        name = self.names[index]
        with self._mending():
            data = io.BytesIO(self.archive.read(name))
            image = decode(data, f"{name} in {self.archive.path}", self._mode, span=self._span)
        if image.size != (self.width, self.height):
            raise ValueError(
                f"{name} in {self.archive.path} has changed its size since the set was opened: "
                f"leave the images alone while they are read"
            )
        return from_pil(image)

    def _notes_on_modes(self, modes: Counter[str], headers: list[Header]) -> Iterator[str]:
        mode = richest(set(modes))
        if len(modes) > 1:
            mixture = " and ".join(f"{count} {NAMES[mode]}" for mode, count in sorted(modes.items()))
            yield f"the set mixes {mixture} images: all are read as {NAMES[mode]}"
        if mode == "RGBA":
            opaque = self._all_opaque(headers)
            mend = f", but no image looked at ({opaque}) makes use of it: `{self._conversion('clean')}` leaves it out"
            yield f"transparency is learned as a fourth channel{mend if opaque else ''}"

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """Says of a picture that cannot be read what to do."""
        try:
            yield
        except ValueError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ValueError(f"{error}; bring it back") from error
            remedy = f"remove it, or leave out all broken ones with `{self._conversion('clean')}`"
            raise ValueError(f"{error}; {remedy}") from error

    def _common_span(self, headers: list[Header]) -> Span | None:
        """What is black and white in pictures of more than 8 bits; None when there are none. Looks at some of them."""
        found = [name for name, header in zip(self.names, headers, strict=True) if header.deep]
        if not found:
            return None
        looked = found[:: -(-len(found) // MOST_LOOKED_AT)]
        with self._mending():
            what = f"in {self.archive.path}"
            return span_of(read_range(io.BytesIO(self.archive.read(name)), f"{name} {what}") for name in looked)

    def _all_opaque(self, headers: list[Header]) -> int:
        """How many of the RGBA pictures were looked at, from all over the set, if none of them is transparent; or 0."""
        found = [name for name, header in zip(self.names, headers, strict=True) if header.mode == "RGBA"]
        looked = found[:: -(-len(found) // MOST_LOOKED_AT)]
        for name in looked:
            with suppress(ValueError):  # a broken picture is told when it is met
                what = f"{name} in {self.archive.path}"
                if not is_opaque(decode(io.BytesIO(self.archive.read(name)), what, "RGBA", span=self._span)):
                    return 0
        return len(looked)

    def _note_on_span(self) -> str:
        return note(self._span, many=True) if self._span else ""

    def _one_size(self, headers: list[Header]) -> tuple[int, int]:
        """(height, width) of all pictures; ValueError with the command that mends the set when it has no valid one."""
        path, names = self.archive.path, self.names
        sizes = Counter((header.height, header.width) for header in headers)
        most_common = sizes.most_common(1)[0][0]
        if len(sizes) > 1:
            first = (headers[0].height, headers[0].width)
            other = next(i for i, header in enumerate(headers) if (header.height, header.width) != first)
            odd = (headers[other].height, headers[other].width)
            raise ValueError(
                f"{path} holds images of different sizes, such as {spell(*first)} ({names[0]}) and {spell(*odd)} "
                f"({names[other]}): {self._one_size_command(sizes)}"
            )
        try:
            base_size(*most_common)
        except ValueError as error:
            raise ValueError(f"{path}: {error}: {self._one_size_command(sizes)}") from None
        return most_common

    def _one_size_command(self, sizes: Counter[tuple[int, int]]) -> str:
        return remedies.one_size(str(self.archive.path), sizes, labels=self.labels_from)

    def _conversion(self, mark: str) -> str:
        """The command that makes another set of this one, with `mark` at the end of its name."""
        return remedies.conversion(str(self.archive.path), mark, labels=self.labels_from)


def _stem(path: Path) -> str:
    return path.resolve().stem if path.is_file() else path.resolve().name


def _run_name(path: Path) -> str:
    """A short name for folders: letters, digits and dashes of the file's own name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", _stem(path)).strip("-")[:40] or "images"


def _open_shards(config: DataConfig) -> ShardSet:
    if config.labels == "folders":
        raise ValueError(
            "shards have no sub-folders: use --labels auto, which reads the class of a sample from its .cls or .json "
            "file, or --labels none"
        )
    return ShardSet(config.path, config.labels, config.mirror, config.max_images)


def _open_demo(config: DataConfig) -> DemoSet:
    if config.labels == "folders":
        raise ValueError("the demo set has no sub-folders: use --labels auto or --labels none")
    height, width = parse_size(config.path.removeprefix("demo").removeprefix(":") or "32")
    count = min(config.max_images or COUNT, COUNT)
    return DemoSet(height, width, count=count, mirror=config.mirror, labelled=config.labels == "auto")
