"""Encoder and decoder as graphs, ONNX and PyTorch's .pt2, for pictures of any size. Between them the caller mixes.

encoder     pictures [N, 3, H, W] in [0, 1] -> features [N, C, H / factor, W / factor], rounded up
decoder     features -> pictures, factor times as large
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.adain.network import AdaIN, Decoder, Encoder
from models.foreign import Job, Notes
from models.graphs import ExportGraph, Inputs, save
from torch_utils import config as configs

_SIDES = {1: (45, 61), 2: (64, 80), 3: (32, 43)}  # of the pictures that try a graph, by batch


class EncoderGraph(nn.Module):
    """The function of an encoder."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.encoder(pictures)
        return features


class DecoderGraph(nn.Module):
    """The function of a decoder."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: Tensor) -> Tensor:
        pictures: Tensor = self.decoder(features)
        return pictures


def graphs_of(network: AdaIN | Encoder, about: Mapping[str, Any]) -> dict[str, ExportGraph]:
    """The graphs of a network: "encoder", and "decoder" if it has one."""
    encoder = network if isinstance(network, Encoder) else network.encoder

    def pictures(batch: int) -> Inputs:
        source = torch.Generator().manual_seed(batch)
        return {"pictures": torch.rand(batch, 3, *_SIDES[batch], generator=source)}

    def features(batch: int) -> Inputs:
        with torch.no_grad():
            return {"features": encoder(pictures(batch)["pictures"]).contiguous()}

    found = {"encoder": ExportGraph(EncoderGraph(encoder), "features", pictures, about, "adain", sized=True)}
    if isinstance(network, AdaIN):
        made = DecoderGraph(network.decoder)
        found["decoder"] = ExportGraph(made, "pictures", features, about, "adain", sized=True)
    return found


def write(job: Job) -> Notes:
    """The encoder as NAME-encoder, and the decoder as NAME-decoder."""
    (network,) = job.networks.values()
    assert isinstance(network, AdaIN | Encoder)
    about = {"source": job.source, "style": configs.to_dict(network.config), "factor": network.config.factor}
    files = {job.dest.with_stem(f"{job.dest.stem}-{name}"): graph for name, graph in graphs_of(network, about).items()}
    return {path: save(path, graph) for path, graph in files.items()}
