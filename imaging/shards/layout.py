"""Which shards a destination means: `x-%06d.tar`, `x-{0000..0009}.tar` or `x.tar`."""

import re
from pathlib import Path

from imaging.shards.pattern import expand, prefix

SHARD_SIZE = 1000  # images by default
MOST_FIXED = 10_000  # shards that are written side by side
NUMBERED = r"%0?(\d*)d"


def is_shard_dest(dest: str) -> bool:
    """Whether `dest` means shards."""
    return dest.lower().endswith(".tar")


class Layout:
    """Deals images to shards.

    `x-%06d.tar` is filled shard by shard with `shard_size` images each. To the shards of `x-{0000..0009}.tar`, or to
    `x.tar`, images are dealt in turn.
    """

    def __init__(self, dest: str | Path, shard_size: int = 0) -> None:
        """Raises ValueError if `dest` cannot name shards, or `shard_size` does not apply to it."""
        self.dest = str(dest)
        numbered = re.findall(NUMBERED, Path(self.dest).name)
        self.fixed = [] if numbered else expand(self.dest)
        odd = "%" in re.sub(NUMBERED, "", self.dest, count=1) or len(self.fixed) > MOST_FIXED or "://" in self.dest
        if odd or not is_shard_dest(self.dest) or (shard_size and not numbered):
            raise ValueError(
                f"{dest} does not name shards: write x-%06d.tar, which --shard-size applies to, or up to {MOST_FIXED} "
                f"names on this machine, as in x-{{0000..0009}}.tar"
            )
        self.shard_size = shard_size or SHARD_SIZE
        self.index = Path(f"{prefix(self.dest)}-index.json")
        self.sources = Path(f"{prefix(self.dest)}-sources.csv")

    def number(self, picture: int) -> int:
        """The shard of image number `picture`."""
        return picture % len(self.fixed) if self.fixed else picture // self.shard_size

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return Path(self.fixed[number] if self.fixed else self.dest % number)

    def check_vacant(self) -> None:
        """ValueError if a file exists that the shards would replace, or that would be taken for one of them."""
        there = [Path(name) for name in self.fixed]
        if not there:
            start, end = map(re.escape, re.split(r"%0?\d*d", Path(self.dest).name))
            there = sorted(
                path for path in Path(self.dest).parent.glob("*") if re.fullmatch(f"{start}\\d+{end}", path.name)
            )
        for path in [self.index, self.sources, *there]:
            if path.exists():
                raise taken(path)

    def check_count(self, pictures: int) -> None:
        """ValueError if there are fewer images than shards."""
        if pictures < max(len(self.fixed), 1):
            shards = f", fewer than the {len(self.fixed)} shards" if pictures else ""
            raise ValueError(f"{self.dest} would hold {pictures or 'no'} images{shards}, and was not written")


def taken(path: Path) -> ValueError:
    """The error of a shard, or index, that exists already."""
    return ValueError(f"{path} exists already: remove the old shards and their index, or choose another name")
