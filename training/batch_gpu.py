"""`--batch-gpu auto`: as many images at once as fit into the memory of a process."""

import gc
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

import torch

from torch_utils import distributed
from torch_utils.cli import counted
from torch_utils.device import available_memory, is_library_error, is_out_of_memory, switches
from training.config import RunConfig
from training.course import Asked, Settled
from training.courses import find
from training.footprint import OverLimitError, footprint
from training.rehearsal import rehearse

RESERVE = 0.05  # of a CUDA device's memory: for fragmentation in a long run, and for sample sheets
NEARLY_FULL = 0.1  # of a CUDA device's memory free: any error of cuDNN or cuBLAS means lack of memory
OVERHEAD = 2.0  # a CPU process uses up to 1.8 times the bytes of its tensors: workspaces of libraries, fragmentation


def candidates(settle: Callable[[Asked], Settled], asked: Asked) -> list[RunConfig]:
    """A configuration for every number of images at once that is possible, from many to few."""

    def config(number: int) -> RunConfig:
        return settle(asked._replace(given={**asked.given, "pace.batch_gpu": number})).config

    share, found = config(1).pace.batch // asked.world, []
    for number in (n for n in range(share, 0, -1) if share % n == 0):
        with suppress(ValueError):  # the number does not suit a model's other settings; 1 always does
            found.append(config(number))
    return found


def largest(configs: Sequence[RunConfig], device: torch.device) -> RunConfig:
    """The first configuration whose training step fits into memory on all processes.

    On CUDA each is tried in a child process: cuDNN remembers for the life of a process which algorithms it chose, and
    choices made while memory was nearly full must not reach the run. Elsewhere the memory is computed and compared with
    the free memory, since a system without enough memory does not refuse, but slows down.

    Args:
        configs: resolved, from many images at once to few.
        device: of this process.

    Raises:
        ValueError: not even the last one fits.
    """
    free, share = _free(device), configs[0].pace.batch // distributed.world()
    if device.type == "cuda":
        mine = elsewhere(_most_that_works, list(configs), share, device)
    else:
        mine = next((config.pace.batch_gpu for config in configs if _has_room(config, share, device, free)), 0)
    agreed = distributed.least(mine)
    if not agreed:
        least = configs[-1]
        mend = "" if least.checkpoint_activations or least.compile else "give --checkpoint-activations, or "
        raise ValueError(
            f"--batch-gpu auto: {free / 2**30:.1f} GiB are free on {device}, too little for "
            f"{counted(least.pace.batch_gpu, 'image')} at once: {mend}take {find(least.model).smaller}"
        )
    return next(config for config in configs if config.pace.batch_gpu == agreed)


def _free(device: torch.device) -> int:
    """Free memory for this process, in bytes."""
    try:
        free = available_memory(device)
    except ValueError as error:
        raise ValueError(f"--batch-gpu auto: {error}: give a number of images") from error
    return free if device.type == "cuda" else free // distributed.neighbors()


def elsewhere(function: Callable[..., int], *arguments: Any) -> int:
    """Call a module's function with picklable arguments in a process of its own, and return the result.

    Raises:
        ValueError: the process was killed. Errors of the function are raised unchanged.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise ValueError("--batch-gpu auto: the process that tried it was killed: give a number of images") from error


def _most_that_works(configs: Sequence[RunConfig], share: int, device: torch.device) -> int:
    """Images at once in the first configuration whose step a CUDA device can take; 0 if it can take none."""
    for config in configs:
        with switches(config.arithmetic, config.deterministic):
            worked = _attempt(config, share, device)
        gc.collect()
        torch.cuda.empty_cache()
        if worked:
            return config.pace.batch_gpu
    return 0


def _attempt(config: RunConfig, share: int, device: torch.device) -> bool:
    try:
        reserve = torch.empty(int(RESERVE * torch.cuda.mem_get_info(device)[1]), dtype=torch.uint8, device=device)
        rehearse(config, share, device)
        torch.cuda.synchronize(device)
        del reserve
    except (RuntimeError, MemoryError) as error:
        free, total = torch.cuda.mem_get_info(device)
        if not is_out_of_memory(error) and not (is_library_error(error) and free < NEARLY_FULL * total):
            raise
        return False
    return True


def _has_room(config: RunConfig, share: int, device: torch.device, free: int) -> bool:
    """Whether the free memory suffices for a step."""
    try:
        footprint(config, share, device, limit=int(free / OVERHEAD))
    except OverLimitError:
        return False
    return True
