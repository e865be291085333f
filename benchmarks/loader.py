"""How many images per second the loader reads, for each number of worker processes."""

import time
from contextlib import closing
from statistics import median

import click

from imaging import loader
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.sizes import spell
from torch_utils.cli import Command, option, say
from torch_utils.device import keep_freed_memory

BATCH, ROUNDS = 4, 3
WORKERS = "worker processes; 0 reads in the training process; give the option again for more numbers"
EXAMPLES = """
Examples:
  python -m benchmarks.loader --data ffhq.zip
  python -m benchmarks.loader --data ffhq.zip --workers 0 --workers 8
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--data", required=True, group="Measurement", help="as for train.py")
@option("--workers", type=click.IntRange(0), multiple=True, default=(0, 1, 2), group="Measurement", help=WORKERS)
@option("--seconds", type=float, default=2.0, group="Measurement", help="length of each measurement")
def main(data: str, workers: tuple[int, ...], seconds: float) -> None:
    """Time the reading of images alone.

    Files are in the system's memory after the first reading, so the speed of the disk is not measured.
    """
    keep_freed_memory()  # as training does; forked workers inherit it
    dataset = open_dataset(DataConfig(path=data))
    say(f"{data}, {spell(dataset.height, dataset.width)} pixels, batches of {BATCH}")
    for n in workers:
        say(f"{n} workers: {median(speed_of(dataset, n, seconds) for _ in range(ROUNDS)):.1f} images/s")


def speed_of(dataset: ImageSet, workers: int, seconds: float) -> float:
    """Images per second, after the batches that were read ahead are used up."""
    with closing(loader.batches(dataset, BATCH, seed=0, workers=workers)) as batches:
        for _ in range((loader.AHEAD + 1) * workers + 1):
            next(batches)
        count, start = 0, time.perf_counter()
        while count == 0 or time.perf_counter() < start + seconds:
            count += len(next(batches)[0])
        return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
