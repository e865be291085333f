"""A denoiser as a function of named tensors."""

from collections.abc import Mapping
from typing import Any

import torch

from models.graphs import ExportGraph, Inputs


def graph_of(network: Any, family: str, about: Mapping[str, Any]) -> ExportGraph:
    """The graph of a denoiser: x [N, C, H, W], t [N] and, with classes, c int64 [N] -> prediction."""
    config = network.config

    def inputs(batch: int) -> Inputs:
        source = torch.Generator().manual_seed(batch)
        x = torch.randn(batch, config.channels, config.height, config.width, generator=source)
        found = {"x": x, "t": torch.linspace(999, 0, batch)}
        return found | ({"c": torch.arange(batch) % config.classes} if config.classes else {})

    return ExportGraph(network, "prediction", inputs, about, family)
