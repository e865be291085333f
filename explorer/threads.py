"""How many of PyTorch's threads make pictures soonest: on a busy machine one may be the best."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

SLOW = 0.5  # seconds a picture, from which trying numbers of threads takes too long
SEEDS = 4


class threads:  # noqa: N801 (a context manager, named as one)
    """PyTorch's number of threads within a block; None leaves it."""

    def __init__(self, count: int | None) -> None:
        self.count, self.before = count, torch.get_num_threads()

    def __enter__(self) -> None:
        if self.count:
            torch.set_num_threads(self.count)

    def __exit__(self, *error: object) -> None:
        if self.count:
            torch.set_num_threads(self.before)


def quickest(pixels: Callable[[int, int], Tensor]) -> tuple[int | None, bool]:
    """The number of threads that makes a picture soonest, and whether it has the pixels of PyTorch's own number.

    `pixels(count, seed)` makes the picture of a seed. The order of sums depends on shapes and threads alone, so the
    pictures of a few seeds tell whether it is the same. Returns None and False if pictures take long.
    """
    own = torch.get_num_threads()
    times: dict[int, float] = {}
    seen: dict[int, list[Tensor]] = {}
    for count in dict.fromkeys([own, 1]):
        seen[count] = []
        for seed in range(SEEDS):
            start = time.perf_counter()
            seen[count].append(pixels(count, seed))
            taken = time.perf_counter() - start
            if taken > SLOW and seed:
                return None, False
            times[count] = min(taken, times.get(count, taken))
    best = min(times, key=lambda count: times[count])
    return best, all(map(torch.equal, seen[own], seen[best]))
