"""`--batch-gpu auto`: as many images at once as fit into the memory of a process."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from torch_utils import distributed
from torch_utils.cli import counted
from torch_utils.device import available_memory, is_library_error, is_out_of_memory, switches
from training.config import RunConfig
from training.course import Asked, Settled
from training.courses import find
from training.footprint import footprint
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

    On CUDA each is tried. Elsewhere the memory is computed and compared with the free memory, since a system without
    enough memory does not refuse, but slows down.

    Args:
        configs: resolved, from many images at once to few.
        device: of this process.

    Raises:
        ValueError: not even the last one fits, or the system does not tell how much memory is free.
    """
    free, share = available_memory(device), configs[0].pace.batch // distributed.world()
    limit = free / distributed.neighbors() / OVERHEAD
    agreed = distributed.least(
        next((config.pace.batch_gpu for config in configs if _fits(config, share, device, limit)), 0)
    )
    if not agreed:
        raise ValueError(
            f"--batch-gpu auto: {free / 2**30:.1f} GiB are free on {device}, too little for "
            f"{counted(configs[-1].pace.batch_gpu, 'image')} at once: give --checkpoint-activations, or take "
            f"{find(configs[-1].model).smaller}"
        )
    return next(config for config in configs if config.pace.batch_gpu == agreed)


def _fits(config: RunConfig, share: int, device: torch.device, limit: float) -> bool:
    """Whether a step of `share` images works on CUDA; elsewhere, whether its tensors hold at most `limit` bytes."""
    if device.type != "cuda":
        return max(footprint(config, share, device).values()) <= limit
    try:
        reserve = torch.empty(int(RESERVE * torch.cuda.mem_get_info(device)[1]), dtype=torch.uint8, device=device)
        with switches(config.arithmetic, config.deterministic):
            rehearse(config, share, device)
        torch.cuda.synchronize(device)
        del reserve
        return True
    except (RuntimeError, MemoryError) as error:
        free, total = torch.cuda.mem_get_info(device)
        if not is_out_of_memory(error) and not (is_library_error(error) and free < NEARLY_FULL * total):
            raise
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
