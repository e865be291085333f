"""What the rows of all denoising networks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel

from models import graphs
from models.diffusion import denoisergraph, sampler
from models.diffusion.choices import DenoisingOptions
from models.family import Part
from models.foreign import Job, Notes
from models.graphformats import graph_formats
from torch_utils import config as configs

AVERAGES = ("ema", "ema_2", "ema_3")  # a run may keep several
SHOWN = (*AVERAGES, "net")
PICTURES: dict[str, Any] = {
    "options": DenoisingOptions,
    "judged": DenoisingOptions(),
    "open_sampler": lambda networks, options, metadata: sampler.open_denoising(networks, options, metadata),
    "shown": SHOWN,
    "caption": "50 steps, no guidance",
    "command": "--seeds 0-15 --steps 50",
}


def example(config: Any) -> tuple[torch.Tensor, ...]:
    """Arguments of a network: x, t, c."""
    x = torch.zeros(1, config.channels, config.height, config.width, device="meta")
    t, c = torch.zeros(1, device="meta"), torch.zeros(1, dtype=torch.int64, device="meta")
    return (x, t, c) if config.classes else (x, t)


def parts(config: type[BaseModel], build: Callable[[Any], torch.nn.Module], name: str, what: str) -> Mapping[str, Part]:
    """The averages of a network, and the network as trained.

    Args:
        config: of the network.
        build: makes the network of a configuration.
        name: of its configuration in files.
        what: in sentences: "denoiser".
    """
    roles = dict(zip(AVERAGES, ("averaged", "second averaged", "third averaged"), strict=True))
    roles |= {"net": "trained"}
    return {
        key: Part(name, config, build, f"the {role} {what}", example, optional=key in AVERAGES[1:])
        for key, role in roles.items()
    }


def facts(config: Any) -> dict[str, str]:
    """What `describe` says of the noise."""
    noise = config.noise
    learned = ", learned variances" if noise.learned_variance else ""
    path = "straight path" if noise.objective == "flow" else f"{noise.schedule} schedule"
    return {"predicts": f"{noise.objective} ({path}{learned})"}


def use(config: Any) -> str:
    """An example in Python."""
    label = "torch.tensor([0])  # class 0" if config.classes else "None"
    size = f"1, {config.channels}, {config.height}, {config.width}"
    return f"""x, t, c = torch.randn({size}), torch.tensor([999.0]), {label}
prediction = network(x, t, c)  # of the noisy picture x at level t"""


def _write_graph(job: Job) -> Notes:
    (network,) = job.networks.values()
    about = {
        "source": job.source,
        "denoiser": configs.to_dict(network.config),  # type: ignore[arg-type]
        "class_names": job.class_names,
        "kimg": job.metadata.get("kimg"),
    }
    return {job.dest: graphs.save(job.dest, denoisergraph.graph_of(network, job.metadata["family"], about))}


GRAPHS = graph_formats(_write_graph)
DENOISER: dict[str, Any] = PICTURES | {"use": use, "told": {"objective": "denoiser.noise.objective"}}
