"""How many images per second the loader reads, for each number of worker processes.

`python -m benchmarks.loader`

Without --data, generated pictures that compress like photographs are written as PNGs twice: neither compressed nor
filtered, as dataset_tool.py writes them, and compressed, as other programs do. Each set is read from a ZIP and from a
folder. Files are in the system's memory after the first reading, so the speed of the disk is not measured.
"""

import json
import math
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from statistics import median

import click
import numpy as np
from PIL import Image

from imaging import loader, png
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.sizes import spell
from torch_utils.cli import Command, Size, counted, option, say
from torch_utils.device import keep_freed_memory

BATCH = 4
COMPRESSION = 6  # the default of most programs
EXAMPLES = """
Examples:
  python -m benchmarks.loader
  python -m benchmarks.loader --data ffhq.zip --workers 0 --workers 8
  python -m benchmarks.loader --resolution 256 --speed 500
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--data", type=click.Path(path_type=Path), group="Data", help="a ZIP or folder instead of generated pictures")
@option("--resolution", type=Size(), default="1024", group="Data", help="of generated pictures")
@option("--images", type=click.IntRange(min=1), default=48, group="Data", help="generated pictures of each kind")
@option(
    "--workers",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0, 1, 2),
    group="Measurement",
    help="worker processes; 0 reads in the training process; give the option again for more numbers",
)
@option("--rounds", type=click.IntRange(min=1), default=3, group="Measurement", help="measurements of each")
@option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=2.0, group="Measurement", help="length of each"
)
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    group="Measurement",
    help="images per second of training, to print how many workers it needs",
)
@option("--json", "as_json", is_flag=True, group="Measurement", help="print JSON instead of a table")
def main(
    data: Path | None,
    resolution: tuple[int, int],
    images: int,
    workers: tuple[int, ...],
    rounds: int,
    seconds: float,
    speed: float | None,
    as_json: bool,
) -> None:
    """Time the reading of images alone."""
    keep_freed_memory()  # as training does; forked workers inherit it
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        paths = {str(data): data} if data is not None else generate(Path(folder), *resolution, images)
        sets = {name: open_dataset(DataConfig(path=str(path))) for name, path in paths.items()}
        speeds = measure(sets, sorted(set(workers)), rounds, seconds)
        first = next(iter(sets.values()))
        size, default = spell(first.height, first.width), loader.default_workers(first)
    if as_json:
        say(json.dumps({"size": size, "speeds": speeds}))
    else:
        say(table(size, speeds, default, speed))


def measure(sets: dict[str, ImageSet], workers: list[int], rounds: int, seconds: float) -> dict[str, dict[int, float]]:
    """Images per second by set and number of workers: medians over rounds in which all take turns."""
    found: dict[tuple[str, int], list[float]] = {(name, n): [] for n in workers for name in sets}
    for _ in range(rounds):
        for name, n in found:
            found[name, n].append(speed_of(sets[name], n, seconds))
    return {name: {n: median(found[name, n]) for n in workers} for name in sets}


def speed_of(dataset: ImageSet, workers: int, seconds: float) -> float:
    """Images per second, after the batches that were read ahead are used up."""
    with closing(loader.batches(dataset, BATCH, seed=0, workers=workers)) as batches:
        for _ in range((loader.AHEAD + 1) * workers + 1):
            next(batches)
        count, start = 0, time.perf_counter()
        while count == 0 or time.perf_counter() < start + seconds:
            count += len(next(batches)[0])
        return count / (time.perf_counter() - start)


def generate(folder: Path, height: int, width: int, count: int) -> dict[str, Path]:
    """Write the same pictures as PNGs of both kinds, into a ZIP and a folder each."""
    kinds: dict[str, Callable[[Image.Image], bytes]] = {"plain": png.encode, "compressed": _compressed}
    paths: dict[str, Path] = {}
    for kind, encode in kinds.items():
        paths |= {f"{kind} PNGs, ZIP": folder / f"{kind}.zip", f"{kind} PNGs, folder": folder / kind}
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
    """A picture of gradients and noise that compresses like a photograph: at 1024x1024 to about a half."""
    draws = np.random.RandomState(seed)
    pixels = 128 + draws.normal(0, 2, (height, width, 1)) + draws.normal(0, 0.7, (height, width, 3))
    for cells in (4, 16, 64):
        for channel in range(3):
            field = draws.normal(0, 80 / cells**0.5, (cells, cells)).astype(np.float32)
            grown = Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += np.asarray(grown)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def table(size: str, speeds: dict[str, dict[int, float]], default: int, wanted: float | None) -> str:
    """Measurements as text, with the images per second of each of the most workers."""
    counts = list(next(iter(speeds.values())))
    most = max(counts)
    each = {name: row[most] / max(most, 1) for name, row in speeds.items()}
    lines = [
        f"{size} pixels, batches of {BATCH}; images/s",
        "",
        f"{'workers':<26}" + "".join(f"  {n:>8}" for n in counts) + f"  {'each':>8}",
    ]
    for name, row in speeds.items():
        lines.append(f"{name:<26}" + "".join(f"  {row[n]:8.1f}" for n in counts) + f"  {each[name]:8.1f}")
    lines += ["", f"train.py takes {counted(default, 'worker')} here to train on a GPU"]
    if wanted is not None:
        for name, speed in each.items():
            lines.append(f"{name}: {wanted:g} images/s need {counted(math.ceil(wanted / speed), 'worker')}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
