"""Shards that the tests are made of."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from tests.imaging.pictures import encoded, picture


def write_tar(path: Path, files: Mapping[str, bytes | Image.Image]) -> Path:
    """By the library, in its usual format: not by our own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else encoded(content)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shards(folder: Path, counts: list[int], classes: int = 3) -> str:
    """Shards of that many samples; the seed and the class of sample i, counted over all, follow from i."""
    first = 0
    for number, count in enumerate(counts):
        files: dict[str, bytes | Image.Image] = {}
        for i in range(first, first + count):
            files[f"{i:06d}.png"] = picture(seed=i)
            files[f"{i:06d}.cls"] = str(i % classes).encode()
        write_tar(folder / f"x-{number:04d}.tar", files)
        first += count
    return str(folder / f"x-{{0000..{len(counts) - 1:04d}}}.tar")
