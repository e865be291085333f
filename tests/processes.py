"""A function run by several processes at once, which find one another without a race for a port."""

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def together(function: Callable[..., Any], *arguments: Any, processes: int = 2, here: int | None = None) -> None:
    """Calls `function(rank, *arguments)` in new processes; what fails in any of them is raised here.

    Args:
        function: of a module, for it is called elsewhere.
        arguments: what else it gets.
        processes: how many.
        here: how many of them torchrun would say share this machine; all by default.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # on a port that the system chooses
    mp.spawn(_begin, args=(function, processes, here or processes, store.port, arguments), nprocs=processes)


def _begin(
    rank: int, function: Callable[..., Any], processes: int, here: int, port: int, arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(here), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # the store is there already
    function(rank, *arguments)
