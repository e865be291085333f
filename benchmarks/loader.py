"""How many images a second the loader reads from disk, for every number of worker processes.

`python -m benchmarks.loader`

Without --data, pictures that compress like photographs, gradients of all sizes under a little noise, are written as
PNGs twice: as dataset_tool.py writes them, neither compressed nor filtered, and as other programs do. Each is read from
a ZIP and from a folder, as training reads it, and nothing else is done with it: this is the most that training can get.
"""

import json
import math
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean, median

import click
import numpy as np
from PIL import Image

from imaging import loader, png
from imaging.archive import open_archive
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.sizes import check_area, parse_size, spell
from torch_utils.cli import Command, counted, option, say
from torch_utils.device import keep_freed_memory

BATCH = 4
COMPRESSION = 6  # as most programs have it
PLACES = {"ZIP": ".zip", "folder": ""}
EXAMPLES = """
Examples:
  python -m benchmarks.loader
  python -m benchmarks.loader --data ffhq.zip --workers 0 --workers 8
  python -m benchmarks.loader --resolution 256 --speed 500
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--data", type=click.Path(path_type=Path), group="Data", help="Read this ZIP or folder, not generated pictures."
)
@option("--resolution", default="1024", group="Data", help="Size of the generated pictures: pixels, or WIDTHxHEIGHT.")
@option(
    "--images",
    type=click.IntRange(min=1),
    default=48,
    group="Data",
    help="How many pictures are generated in each way.",
)
@option(
    "--workers",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0, 1, 2),
    group="Measurement",
    help="Processes that read; 0 reads in the process that trains. May be given several times.",
)
@option("--rounds", type=click.IntRange(min=1), default=3, group="Measurement", help="Times that each is measured.")
@option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    group="Measurement",
    help="Length of each measurement, after the first batches.",
)
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    group="Measurement",
    help="Tell how many workers training at so many images a second wants.",
)
@option("--json", "as_json", is_flag=True, group="Measurement", help="Print JSON instead of a table.")
def main(
    data: Path | None,
    resolution: str,
    images: int,
    workers: tuple[int, ...],
    rounds: int,
    seconds: float,
    speed: float | None,
    as_json: bool,
) -> None:
    """Time the reading of images alone."""
    keep_freed_memory()  # as training does; workers inherit it where they are forked
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        paths = {str(data): data} if data is not None else generate(Path(folder), *parse_size(resolution), images)
        found = measure(paths, sorted(set(workers)), rounds, seconds)
    say(json.dumps([asdict(reading) for reading in found]) if as_json else table(found, speed))


@dataclass(frozen=True)
class Reading:
    """How fast one set is read."""

    data: str
    size: str  # of its pictures
    file_bytes: float  # of a file, on average
    speeds: dict[int, float]  # workers -> images a second
    default_workers: int

    @property
    def of_worker(self) -> float:
        """Images a second of each worker, where most are at work; without workers, of the process that trains."""
        most = max(self.speeds)
        return self.speeds[most] / max(most, 1)

    def wanted(self, speed: float) -> int:
        """Workers that keep up with training at a speed."""
        return math.ceil(speed / self.of_worker)


def measure(paths: dict[str, Path], workers: list[int], rounds: int, seconds: float) -> list[Reading]:
    """Medians over rounds in which every set and every number of workers takes its turn."""
    sets = {name: open_dataset(DataConfig(path=str(path))) for name, path in paths.items()}
    speeds: dict[tuple[str, int], list[float]] = {(name, n): [] for n in workers for name in sets}
    for _ in range(rounds):
        for name, n in speeds:
            speeds[name, n].append(speed_of(sets[name], n, seconds))
    found = []
    for name, dataset in sets.items():
        sizes = open_archive(paths[name]).sizes.values()
        medians = {n: median(speeds[name, n]) for n in workers}
        default = loader.default_workers(dataset)
        found.append(Reading(name, spell(dataset.height, dataset.width), mean(sizes), medians, default))
    return found


def speed_of(dataset: ImageSet, workers: int, seconds: float) -> float:
    """Images a second, once the batches that were read ahead are used up."""
    with closing(loader.batches(dataset, BATCH, seed=0, workers=workers)) as batches:
        for _ in range((loader.AHEAD + 1) * workers + 1):
            next(batches)
        count, start = 0, time.perf_counter()
        while count == 0 or time.perf_counter() < start + seconds:
            count += len(next(batches)[0])
        return count / (time.perf_counter() - start)


def generate(folder: Path, height: int, width: int, count: int) -> dict[str, Path]:
    """Writes the same pictures as PNGs of both kinds, into a ZIP and a folder each."""
    check_area(height, width)
    kinds: dict[str, Callable[[Image.Image], bytes]] = {"plain": png.encode, "compressed": _compressed}
    paths = {f"{kind} PNGs, {where}": folder / f"{kind}{end}" for kind in kinds for where, end in PLACES.items()}
    for kind, encode in kinds.items():
        (folder / kind).mkdir()
        with zipfile.ZipFile(folder / f"{kind}.zip", "w") as archive:
            for i in range(count):
                data = encode(photograph(height, width, i))
                archive.writestr(f"{i:08d}.png", data)
                (folder / kind / f"{i:08d}.png").write_bytes(data)
    return paths


def _compressed(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def photograph(height: int, width: int, seed: int) -> Image.Image:
    """A picture of gradients and noise that compresses as photographs do: at 1024x1024 to about a half."""
    draws = np.random.RandomState(seed)
    pixels = 128 + draws.normal(0, 2, (height, width, 1)) + draws.normal(0, 0.7, (height, width, 3))
    for cells in (4, 16, 64):
        for channel in range(3):
            field = draws.normal(0, 80 / cells**0.5, (cells, cells)).astype(np.float32)
            grown = Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += np.asarray(grown)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def table(found: list[Reading], speed: float | None) -> str:
    """Measurements as text."""
    counts = list(found[0].speeds)
    lines = [
        f"{found[0].size} pixels, batches of {BATCH}, from memory once the system has read them; images/s with",
        "",
        f"{'workers':<26}  {'MB':>5}" + "".join(f"  {n:>8}" for n in counts) + f"  {'each':>8}",
    ]
    for reading in found:
        speeds = "".join(f"  {reading.speeds[n]:8.1f}" for n in counts)
        lines.append(f"{reading.data:<26}  {reading.file_bytes / 1e6:5.2f}{speeds}  {reading.of_worker:8.1f}")
    lines += ["", f"train.py takes {counted(found[0].default_workers, 'worker')} here to train on a GPU"]
    if speed is not None:
        lines += [
            f"{reading.data}: {speed:g} images/s want {counted(reading.wanted(speed), 'worker')}" for reading in found
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
