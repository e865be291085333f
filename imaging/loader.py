"""Reads the endless sequence of training batches from a data set."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count

import numpy as np
import torch

from imaging.demo import DemoSet
from imaging.imageset import ImageSet
from imaging.parallel import pooled
from system.resources import cores

Batch = tuple[torch.Tensor, torch.Tensor]

AHEAD = 4  # batches that each worker prefetches


def batches(
    dataset: ImageSet,
    batch: int,
    seed: int,
    position: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Yield (pixels uint8 [n, C, H, W], labels int64 [n]) endlessly, with n = batch / world, in the set's own order.

    Step k shows the positions `position + k * batch ...` of the shuffle with `seed`; each of `world` ranks has an equal
    slice of them, however many `workers` (processes; 0: none) read. An image that cannot be read raises the data set's
    ValueError, also if a worker read it. Workers start with the first batch and stop when the generator is closed or
    dropped. `pin` puts batches into page-locked memory, for CUDA.
    """
    share = batch // world
    starts = count(position + rank * share, batch)
    indices = ([dataset.index_at(seed, start + i) for i in range(share)] for start in starts)
    made: Iterable[Batch] = map(partial(_read, dataset), indices)
    if workers:
        made = (each for (each,) in pooled(partial(_read, dataset), ([each] for each in indices), workers, AHEAD))
    yield from _pinned(made) if pin else made


def _read(dataset: ImageSet, indices: list[int]) -> Batch:
    items = [dataset[i] for i in indices]
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in items]))  # [n, C, H, W]
    return pixels, torch.tensor([label for _, label in items], dtype=torch.int64)


def _pinned(made: Iterable[Batch]) -> Generator[Batch, None, None]:
    """The batches in page-locked memory, to which a thread moves the next one."""
    with ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),)) as pool:
        ahead = deque[Future[Batch]]()
        for batch in made:
            ahead.append(pool.submit(lambda batch: (batch[0].pin_memory(), batch[1].pin_memory()), batch))
            if len(ahead) > 1:
                yield ahead.popleft().result()


def default_workers(dataset: ImageSet, on_cpu: bool = False) -> int:
    """The default number of workers: up to four; 0 for the demo set, or if the CPU trains and has no cores to spare."""
    return 0 if on_cpu or isinstance(dataset, DemoSet) else min(4, cores())
