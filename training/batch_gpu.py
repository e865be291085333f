"""`--batch-gpu auto`: as many images at once as fit into memory. Steps are tried, or estimated with fake tensors."""

import gc
import multiprocessing
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from system.private import FakeTensorMode, storage_key
from torch_utils import distributed
from torch_utils.cli import counted
from torch_utils.device import available_memory, is_out_of_memory, switches
from torch_utils.stats import Collector
from training.config import RunConfig
from training.course import Asked, Facts
from training.courses import find
from training.recipe import Pictures
from training.run import rounds

RESERVE = 0.05  # of a CUDA device's memory: for fragmentation in a long run, and for sample sheets
NEARLY_FULL = 0.1  # of a CUDA device's memory free: any error of cuDNN or cuBLAS means lack of memory
OVERHEAD = 2.0  # a CPU process uses up to 1.8 times the bytes of its tensors: workspaces of libraries, fragmentation
ALIGNMENT = 512  # bytes: CUDA's allocator hands out multiples
ITERATIONS = 2  # the first one allocates the optimizers' moments, which the second one holds from its beginning
ROUNDS = 2  # the first one allocates gradients


def candidates(settle: Callable[[Asked], tuple[Any, Any]], asked: Asked) -> list[RunConfig]:
    """A configuration for every number of images at once that is possible, from many to few."""

    def config(number: int) -> RunConfig:
        return settle(asked._replace(given={**asked.given, "pace.batch_gpu": number}))[0]

    share, found = config(1).pace.batch // asked.world, []
    for number in (n for n in range(share, 0, -1) if share % n == 0):
        with suppress(ValueError):  # the number does not suit a model's other settings; 1 always does
            found.append(config(number))
    return found


def largest(configs: Sequence[RunConfig], device: torch.device) -> RunConfig:
    """The first of several resolved configurations whose training step fits into all processes' memory, or ValueError.

    On CUDA each is tried in a child process: cuDNN remembers for the life of a process which algorithms it chose while
    memory was nearly full. Elsewhere the memory is estimated: a system without enough does not refuse, but slows down.
    """
    try:
        free = available_memory(device)
    except ValueError as error:
        raise ValueError(f"--batch-gpu auto: {error}: give a number of images") from error
    share = configs[0].pace.batch // distributed.world()
    if device.type == "cuda":
        mine = elsewhere(_most_that_works, list(configs), share, device)
    else:
        free //= distributed.neighbors()
        fitting = (c.pace.batch_gpu for c in configs if footprint(c, share, device)["most"] * OVERHEAD <= free)
        mine = next(fitting, 0)
    agreed = distributed.least(mine)
    if not agreed:
        least = configs[-1]
        mend = "" if least.checkpoint_activations or least.compile else "give --checkpoint-activations, or "
        need = f"{counted(least.pace.batch_gpu, 'image')} at once: {mend}take {find(least.model).smaller}"
        raise ValueError(f"--batch-gpu auto: {free / 2**30:.1f} GiB are free on {device}, too little for {need}")
    return next(config for config in configs if config.pace.batch_gpu == agreed)


def elsewhere(function: Callable[..., int], *arguments: Any) -> int:
    """The result of a module's function, called in a process of its own. Raises ValueError if that was killed."""
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise ValueError("--batch-gpu auto: the process that tried it was killed: give a number of images") from error


def _most_that_works(configs: Sequence[RunConfig], share: int, device: torch.device) -> int:
    """Images at once in the first configuration whose step a CUDA device can take; 0 if it can take none."""
    for config in configs:
        try:
            with switches(config.arithmetic, config.deterministic):
                _attempt(config, share, device)
            return config.pace.batch_gpu
        except (RuntimeError, MemoryError) as error:
            free, total = torch.cuda.mem_get_info(device)
            vague = any(name in str(error).lower() for name in ("cudnn", "cublas"))  # their errors say little
            if not is_out_of_memory(error) and not (vague and free < NEARLY_FULL * total):
                raise
        gc.collect()
        torch.cuda.empty_cache()
    return 0


def _attempt(config: RunConfig, share: int, device: torch.device) -> None:
    reserve = torch.empty(int(RESERVE * torch.cuda.mem_get_info(device)[1]), dtype=torch.uint8, device=device)
    rehearse(config, share, device)
    torch.cuda.synchronize(device)
    del reserve


def rehearse(
    config: RunConfig, share: int, device: torch.device, after: Callable[[str], None] = lambda phase: None
) -> Any:
    """Run every phase on new networks and black pictures, without other processes; return the recipe.

    `share` is the images of the batch for this process; `after` is called with the name of each phase after the phase.
    """
    pace = config.pace.model_copy(update={"batch": share})
    with distributed.alone(), device:
        facts = Facts(torch.ones(config.shape.classes, device="cpu"))
        recipe = find(config.model).recipe(config, facts, device)
        collector = Collector(device)
        sizes = [(share, shape.channels, shape.height, shape.width) for shape in config.shapes.values()]
        labels = torch.zeros(share, dtype=torch.int64)
        sets = [Pictures(torch.zeros(size, dtype=torch.uint8), labels) for size in sizes]
        for iteration in range(ITERATIONS):
            count = min(share // pace.batch_gpu, ROUNDS if iteration else 1)
            for phase in recipe.phases:
                losses = rounds(recipe, phase, sets, pace, config.seed, iteration)
                phase.step(islice(losses, count), count, collector)
                after(phase.name)
            recipe.after_step(seen=0)
    return recipe


class Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that are created while it is in force, until each is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._storages: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for storage in [leaf.untyped_storage() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]:
            key = storage_key(storage)
            if key not in self._storages:
                size = -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
                self._storages[key] = weakref.ref(storage, partial(self._free, key)), size
                self.held += size
                self.peak = max(self.peak, self.held)
        return out

    def _free(self, key: int, reference: Any) -> None:
        self.held -= self._storages.pop(key)[1]


def footprint(config: RunConfig, share: int, device: torch.device) -> dict[str, int]:
    """Estimate the bytes of a training step of `share` images with fake tensors, shapes without data, on any device.

    Returns "networks" (parameters and buffers), "gradients", "optimizers" (moments), the largest total in each phase,
    by its name, and "most". Workspaces of cuDNN and oneDNN, gaps of the allocator and the CUDA context are not seen.
    """
    here = torch.device("cuda", 0) if device.type == "cuda" and torch.cuda.is_available() else torch.device("cpu")
    with torch.random.fork_rng(devices=[here] if here.type == "cuda" else []), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)
        # First run with real tensors: native operators are loaded and tried, and cached constants, which outlive this
        # function, must not be fake tensors.
        rehearse(find(config.model).smallest(config), share, here)
        phases: dict[str, int] = {}
        with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:

            def note(phase: str) -> None:
                phases[phase] = max(ledger.peak, phases.get(phase, 0))
                ledger.peak = ledger.held

            recipe = rehearse(config, share, here, note)
    networks = [t for network in recipe.networks.values() for t in [*network.parameters(), *network.buffers()]]
    states = [state for optimizer in recipe.optimizers.values() for state in optimizer.state.values()]
    parts = {
        "networks": _size(networks),
        "gradients": _size({p for phase in recipe.phases for p in phase.parameters}),
        "optimizers": _size(t for state in states for t in state.values()),
    }
    return parts | phases | {"most": max(phases.values())}


def _size(tensors: Iterable[Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
