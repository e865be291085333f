"""Which shards a destination asks for, and a shard in the making."""

import io
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from imaging.picture import read_header
from imaging.shards.pattern import expand, listed, prefix
from imaging.shards.row import Row
from imaging.shards.table import BLOCK, checksum_of_ends, fingerprint_line
from imaging.sizes import spell

SHARD_SIZE = 1000  # pictures, unless another number is asked for
MOST_FILLED_AT_ONCE = 10_000
NUMBERED = r"%0?(\d*)d"


def is_shard_dest(dest: str) -> bool:
    """Whether `dest` asks for shards: `x-%06d.tar`, `x-{0000..0009}.tar` or `x.tar`."""
    return dest.lower().endswith(".tar")


class Layout:
    """`x-%06d.tar` is filled shard by shard with `shard_size` pictures each; to the shards of `x-{0000..0009}.tar`, or
    to `x.tar`, the pictures are dealt in turn."""

    def __init__(self, dest: str | Path, shard_size: int = 0) -> None:
        """Raises ValueError when `dest` cannot name shards, or `shard_size` does not apply to it."""
        self.dest = str(dest)
        numbered = re.findall(NUMBERED, Path(self.dest).name)
        if "://" in self.dest or not is_shard_dest(self.dest):
            raise ValueError(f"{dest} cannot be written: name .tar files on this machine, such as x-%06d.tar")
        self.fixed = [] if numbered else expand(self.dest)
        loose = "%" in re.sub(NUMBERED, "", self.dest, count=1)
        if loose or len(numbered) > 1 or len(self.fixed) > MOST_FILLED_AT_ONCE:
            raise ValueError(
                f"{dest} does not name shards: write x-%06d.tar, or up to {MOST_FILLED_AT_ONCE} names as in "
                f"x-{{0000..0009}}.tar"
            )
        if shard_size and not numbered:
            raise ValueError(f"{dest} says how many shards there are: leave --shard-size out, or write x-%06d.tar")
        self.shard_size = shard_size or SHARD_SIZE
        self.index = Path(f"{prefix(self.dest)}-index.json")
        self.sources = Path(f"{prefix(self.dest)}-sources.csv")

    def number(self, picture: int) -> int:
        """Which shard the picture of this number goes to."""
        return picture % len(self.fixed) if self.fixed else picture // self.shard_size

    def path(self, number: int) -> Path:
        """Where a shard will be."""
        return Path(self.fixed[number] if self.fixed else self.dest % number)

    def check_vacant(self, own: Iterable[Path] = ()) -> None:
        """ValueError when a file is there, other than our `own`, that the shards would replace, or be taken for."""
        own = set(own)
        there = [Path(name) for name in self.fixed]
        if not there:
            start, end = map(re.escape, re.split(r"%0?\d*d", Path(self.dest).name))
            there = sorted(
                path for path in Path(self.dest).parent.glob("*") if re.fullmatch(f"{start}\\d+{end}", path.name)
            )
        for path in [self.index, self.sources, *there]:
            if path.exists() and path not in own:
                raise ValueError(f"{path} is there already: remove the old shards and their index, or name others")

    def check_count(self, pictures: int) -> None:
        """ValueError when there are too few pictures for the shards."""
        if pictures < max(len(self.fixed), 1):
            shards = f", fewer than the {len(self.fixed)} shards" if pictures else ""
            raise ValueError(f"{self.dest} would hold {pictures or 'no'} images{shards}, and was not written")


class Growing:
    """A shard in the making, at `path`, and what is known of it.

    It is opened anew for each sample: thousands of shards cannot all be kept open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = 0
        self.digest = blake2b(digest_size=16)
        self.labels, self.sizes, self.modes = Counter[int](), Counter[str](), Counter[str]()

    def append(self, key: str, data: bytes, label: int | None) -> None:
        """A sample, `data` being its picture as a PNG file."""
        files = sample_files(key, data, label)
        with self.path.open("ab") as shard:
            for name, content in files.items():
                shard.write(_entry(name, content))
                self.digest.update(fingerprint_line(name, len(content), checksum_of_ends(content)))
        header = read_header(io.BytesIO(data), key)
        self.samples += 1
        self.sizes[spell(header.height, header.width)] += 1
        self.modes[header.mode] += 1
        if label is not None:
            self.labels[label] += 1

    def finish(self) -> None:
        """Writes the mark that ends a tar."""
        complete(self.path, [bytes(2 * BLOCK)])

    def row(self, name: str) -> Row:
        """What the index says of the shard under its later name, when it is finished."""
        name = listed(name)
        values: dict[str, Any] = {"labels": dict(sorted(self.labels.items())) or None}
        values |= {"sizes": self.sizes, "modes": self.modes, "samples": self.samples}
        return Row(name=name, bytes=self.path.stat().st_size, digest=self.digest.hexdigest(), **values)


def sample_key(number: int) -> str:
    """What a sample is called that we write."""
    return f"{number:08d}"


def sample_files(key: str, data: bytes, label: int | None) -> dict[str, bytes]:
    """The files of a sample, by name."""
    labelled = {} if label is None else {f"{key}.cls": str(label).encode()}
    return labelled | {f"{key}.png": data}


def complete(path: Path, end: Iterable[bytes]) -> None:
    """Adds the end of a file, in pieces, and makes sure that the disk has all of it."""
    with path.open("ab") as file:
        file.writelines(end)
        file.flush()
        os.fsync(file.fileno())


def _entry(name: str, data: bytes) -> bytes:
    """A file as tar has it. No clock and no user: equal input gives equal files."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)
