"""A data set for training, from the path a user gave: an archive, a folder, shards, or the embedded demo set."""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.archive import Archive, open_archive
from imaging.demo import COUNT, DemoSet
from imaging.drawnset import COUNT as DRAWN
from imaging.drawnset import KINDS, DrawnSet
from imaging.filenames import some
from imaging.grid import GRID
from imaging.headers import read_facts
from imaging.imageset import ImageSet, ListedSet, notes_on_modes, run_name
from imaging.labels import take_labels
from imaging.latentset import LatentSet, open_latents
from imaging.picture import Header, decode, is_sheet, read_range, span_of
from imaging.pixels import from_pil
from imaging.shards import index as shards
from imaging.shards import shardset
from imaging.sizes import check_area, conversion, one_size, parse_size, spell
from imaging.sources import recognition
from imaging.transforms import richest
from system.text import is_cut

LOOKED_AT = 200  # images decoded at most to find the range of deep values


class DataConfig(BaseModel):
    """The images to learn from. A second set is a subclass whose fields have flags of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        "demo",
        description="ZIP or folder of PNG, JPEG or WebP images of one size; WebDataset shards such as "
        "x-{0000..0999}.tar, local or behind a URL; latents of `dataset_tool.py encode`; `demo`, `demo:64` or "
        "`demo:96x64` is the embedded set of cartoon faces, at 32x32 or the size named; so are `textures`, "
        "`scenes` and `drawings`, which are both",
        json_schema_extra={"flag": "--data", "group": "Data"},
    )
    labels: Literal["auto", "none", "folders"] = Field(
        "auto",
        description="classes: from dataset.json if it has labels (auto), none, or one for each sub-folder (folders)",
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


class CropConfig(DataConfig):
    """Images of any sizes, of which random pieces are learned."""

    resize: int = Field(512, ge=8, le=2**14, description="shorter side that images are resized to first")
    crop: int = Field(256, ge=8, le=2**13, description="side of the square pieces; at most the shorter side")
    held_out: int = Field(16, ge=1, le=1000, description="images that judge a run, and are not learned from")

    @model_validator(mode="after")
    def _pieces_fit(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"pieces of {self.crop} pixels do not fit into a shorter side of {self.resize}")
        return self


def open_dataset(config: DataConfig, with_sheets: bool = True) -> ImageSet:
    """Open the images that `config` names, and check every header.

    Without `with_sheets`, sheets of several samples that this project's programs wrote among samples are skipped.
    ValueError or FileNotFoundError say in one sentence what is wrong with the images and what to do.
    """
    path = Path(config.path)
    if is_embedded(config.path):
        return _open_embedded(config)
    if is_cut(config.path):
        raise ValueError(f"{config.path} was recorded without its user name and password: give --data with them")
    if shards.is_shards(config.path):
        if config.labels == "folders":
            raise ValueError(
                "shards have no sub-folders: use --labels auto, which reads the class of a sample from its .cls or "
                ".json file, or --labels none"
            )
        return shardset.ShardSet(config.path, config.labels, config.mirror, config.max_images)
    if path.is_file() and (foreign := recognition.unfit_for_training(path)):
        raise ValueError(foreign)
    try:
        archive = open_archive(path)
    except ValueError as error:  # say what the path is, if it is anything
        if latents := open_latents(path):
            return LatentSet(latents, choose(len(latents.names), config.max_images), config.mirror, config.labels)
        raise ValueError((path.is_dir() and recognition.unfit_for_training(path)) or str(error)) from error
    chosen = choose(len(archive.names), config.max_images)
    if not with_sheets:
        chosen = _without_sheets(archive, chosen)
    if isinstance(config, CropConfig):
        return CropSet(archive, chosen, config)
    return ArchiveSet(archive, chosen, config.mirror, config.labels)


def is_embedded(path: str) -> bool:
    """Whether a path names a set that this program draws."""
    return path.partition(":")[0] in ("demo", *KINDS)


def _open_embedded(config: DataConfig) -> ImageSet:
    kind, _, size = config.path.partition(":")
    if config.labels == "folders":
        raise ValueError(f"the {kind} set has no sub-folders: use --labels auto or --labels none")
    height, width = parse_size(size or (str(config.crop) if isinstance(config, CropConfig) else "32"))
    most = COUNT if kind == "demo" else DRAWN
    count = min(config.max_images or most, most)
    if kind != "demo":
        return DrawnSet(kind, height, width, count, config.mirror)
    return DemoSet(height, width, count=count, mirror=config.mirror, labeled=config.labels == "auto")


def choose(count: int, most: int) -> np.ndarray:
    """Indices of the images used, ascending: all `count`, or `most` drawn at random, always the same ones."""
    indices = np.arange(count)
    if 0 < most < count:
        np.random.RandomState(0).shuffle(indices)
        indices = np.sort(indices[:most])
    return indices


def _without_sheets(archive: Archive, chosen: np.ndarray) -> np.ndarray:
    """`chosen` without sheets: images of another size than most that are marked as sheets or called `grid.png`."""
    names = [archive.names[i] for i in chosen]
    try:
        sizes = [facts.header[:2] for facts in read_facts(archive, names)]
    except ValueError:
        return chosen  # opening the set reports the broken image
    common = Counter(sizes).most_common(1)[0][0]
    found = set()
    for name in (name for name, size in zip(names, sizes, strict=True) if size != common):
        with archive.open(name) as file:
            if is_sheet(file, name) or name.rpartition("/")[2] == GRID:
                found.add(name)
    if found:
        archive.passed.append(f"sheets of several images are skipped: {some(sorted(found))}")
    return np.array([i for i, name in zip(chosen, names, strict=True) if name not in found], dtype=np.int64)


class ArchiveSet(ListedSet):
    """The images `chosen` of an archive. Images of different modes are all read in the richest of these modes."""

    colors = ""  # the mode to read all images in, if it is fixed

    def __init__(
        self, archive: Archive, chosen: np.ndarray, mirror: bool, labels_from: Literal["auto", "none", "folders"]
    ) -> None:
        """Raises ValueError if a header cannot be read or sizes differ. `labels_from` is the value of --labels."""
        self.archive, self.labels_from = archive, labels_from
        labels = take_labels(archive, labels_from).of(chosen)
        names = self.names = tuple(archive.names[i] for i in chosen)
        with self._mending():
            facts = read_facts(archive, names)
        height, width = self._one_size([each.header for each in facts])
        modes = Counter(each.header.mode for each in facts)
        self._mode = self.colors or richest(set(modes))
        deep = [name for name, each in zip(names, facts, strict=True) if each.header.deep]
        self._span = None  # black and white of images with more than 8 bits, from a sample of them
        with self._mending():
            if deep:
                self._span = span_of(read_range(*self._file(name)) for name in deep[:: -(-len(deep) // LOOKED_AT)])

        def fingerprint(sums: Iterable[int], class_names: tuple[str, ...]) -> str:
            entries = [archive.entries[name] for name in names]
            identity = [(entry.raw, entry.size, sum_) for entry, sum_ in zip(entries, sums, strict=True)]
            summary = [identity, labels.values.tolist(), class_names, height, width, len(self._mode), mirror]
            return hashlib.sha256(json.dumps(summary).encode()).hexdigest()

        now = fingerprint((each.content for each in facts), labels.class_names)
        path = archive.path.resolve()
        name = run_name(path.stem if path.is_file() else path.name) or "images"
        super().__init__(name, height, width, len(self._mode), labels, mirror, now)
        # Earlier versions summed only the ends of files, and took class names as folders spell them.
        ends, decomposed = [each.ends for each in facts], (unicodedata.normalize("NFD", n) for n in labels.class_names)
        self.former_fingerprints = (fingerprint(ends, labels.class_names), fingerprint(ends, tuple(decomposed)))
        span_note = self._span.note(many=True) if self._span else ""
        self.notes = (*archive.passed, *notes_on_modes(modes), *filter(None, [span_note]))

    def read(self, index: int) -> np.ndarray:
        with self._mending():
            file, name = self._file(self.names[index])
            image = decode(file, name, self._mode, span=self._span)
        if image.size != (self.width, self.height):
            raise ValueError(
                f"{name} has changed its size since the set was opened: do not change images while a program reads them"
            )
        return from_pil(image)

    def resized(self, height: int, width: int) -> str:
        size = spell(height, width)
        return f"make them {size} with `{self._conversion(size, sized=True)}`"

    def _file(self, name: str) -> tuple[io.BytesIO, str]:
        """The content of an image, and what errors call it."""
        return io.BytesIO(self.archive.read(name)), f"{name} in {self.archive.path}"

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """Add to the error about an image that cannot be read what to do."""
        try:
            yield
        except ValueError as error:
            remedy = f"remove it, or leave out all broken ones with `{self._conversion('clean')}`"
            lost = isinstance(error.__cause__, FileNotFoundError)
            raise ValueError(f"{error}; {'restore it' if lost else remedy}") from error

    def _one_size(self, headers: list[Header]) -> tuple[int, int]:
        """(height, width) of all images. ValueError, with the command that makes a set of one size, if they differ."""
        path, sizes = self.archive.path, [(header.height, header.width) for header in headers]
        other = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
        if other is not None:
            command = one_size(str(path), Counter(sizes), labels=self.labels_from)
            raise ValueError(
                f"{path} holds images of different sizes, such as {spell(*sizes[0])} ({self.names[0]}) and "
                f"{spell(*sizes[other])} ({self.names[other]}): {command}"
            )
        check_area(*sizes[0])
        return sizes[0]

    def _conversion(self, mark: str, sized: bool = False) -> str:
        return conversion(str(self.archive.path), mark, labels=self.labels_from, sized=sized)


class CropSet(ArchiveSet):
    """Random square pieces of images of any sizes, in RGB. The last images of the archive are held out.

    The item at a position of the shuffle has an index that tells the image and, by its multiples of the set's length,
    how often the set has been seen: every time it is another piece, and a resumed run sees the same ones.
    """

    colors = "RGB"

    def __init__(self, archive: Archive, chosen: np.ndarray, config: CropConfig) -> None:
        """Raises ValueError if a header cannot be read, or too few images are left."""
        self.config = config
        if len(chosen) <= config.held_out:
            raise ValueError(
                f"{archive.path} has {len(chosen)} images, of which {config.held_out} are held out: give more images"
            )
        held, chosen = chosen[-config.held_out :], chosen[: -config.held_out]
        super().__init__(archive, chosen, config.mirror, "none")
        self.held_names = tuple(archive.names[i] for i in held)

    def _one_size(self, headers: list[Header]) -> tuple[int, int]:
        return self.config.crop, self.config.crop

    def index_at(self, seed: int, position: int) -> int:
        return super().index_at(seed, position) + position // len(self) * len(self)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        time, item = divmod(index, len(self))
        mirrored, number = divmod(item, self.count)
        random = np.random.RandomState([time & 0xFFFFFFFF, item & 0xFFFFFFFF])
        pixels = self._piece(self.names[number], *random.rand(2))
        return (np.ascontiguousarray(pixels[:, :, ::-1]) if mirrored else pixels), 0

    def read(self, index: int) -> np.ndarray:
        return self._piece(self.names[index], 0.5, 0.5)

    def picture(self, index: int) -> np.ndarray:
        return self.read(index % self.count)

    def held_out(self, number: int) -> np.ndarray:
        """The middle of a picture that is not learned from, uint8 [3, crop, crop]."""
        return self._piece(self.held_names[number % len(self.held_names)], 0.5, 0.5)

    def _piece(self, name: str, down: float, right: float) -> np.ndarray:
        """A piece of an image at shares of the free room, uint8 [3, crop, crop]."""
        side, crop = self.config.resize, self.config.crop
        with self._mending():
            file, what = self._file(name)
            image = decode(file, what, self.colors, enough=(side, side))
        scale = side / min(image.size)
        image = image.resize([max(round(length * scale), side) for length in image.size], Image.Resampling.BICUBIC)
        x, y = round(right * (image.width - crop)), round(down * (image.height - crop))
        return from_pil(image.crop((x, y, x + crop, y + crop)))
