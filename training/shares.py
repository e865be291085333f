"""A batch dealt to processes, and the share of a process dealt to rounds of equal size."""


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` up to `most`."""
    return next(d for d in range(min(number, most), 0, -1) if number % d == 0)


def share_of(batch: int, world: int) -> int:
    """Images of a batch for each of `world` processes. Raises ValueError if the shares are not equal."""
    if batch % world:
        raise ValueError(f"--batch {batch} is not a multiple of the {world} processes: give each the same share")
    return batch // world


def check_rounds(batch_gpu: int, share: int, batch: int) -> None:
    """Raises ValueError unless a process's share of the batch makes whole rounds of `batch_gpu` images."""
    if share % batch_gpu:
        raise ValueError(
            f"--batch-gpu {batch_gpu} does not divide the {share} images that a process has of --batch {batch}: "
            f"take {largest_divisor(share, batch_gpu)}"
        )
