"""A generator as functions of named tensors alone, which is what a graph can hold.

    whole       z, c, psi, noise -> images
    mapping     z, c, psi -> ws
    synthesis   ws, noise -> images

c [N, classes] is one-hot, and an input only where the network has classes. psi [] is the truncation. noise [N, P] is
an input only of networks that take random noise: a graph draws nothing, so its caller gives it as many normal numbers
for each image as there are pixels in the noise of all layers, P. The batch N is free, from 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.stylegan2.generator import Generator, NoiseMode, Synthesis
from models.stylegan2.latents import truncate
from models.stylegan2.mapping import MappingNetwork

TOLERANCE = 1e-3  # of an export's outputs, in units of the largest output, or of 1 where that is smaller
CASES = ((1, 1.0), (3, 0.5))  # batch and psi with which an export is tried

Inputs = dict[str, Tensor]


class MappingGraph(nn.Module):
    """(z, c) -> truncated w for every layer [N, L, D]."""

    def __init__(self, mapping: MappingNetwork, num_ws: int, cutoff: int | None) -> None:
        super().__init__()
        self.mapping, self.num_ws, self.cutoff = mapping, num_ws, cutoff

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None) -> Tensor:
        ws = self.mapping(z, c)[:, None, :].expand(-1, self.num_ws, -1)  # [N, L, D]
        return truncate(ws, self.mapping.w_average, psi, self.cutoff)


class SynthesisGraph(nn.Module):
    """ws [N, L, D] -> images [N, channels, height, width]."""

    def __init__(self, synthesis: Synthesis, noise_mode: NoiseMode) -> None:
        super().__init__()
        self.synthesis, self.noise_mode = synthesis, noise_mode

    def forward(self, ws: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is not None:
            return self.synthesis.render(ws, self.synthesis.parted_noise(noise))
        return self.synthesis.render(ws, self.synthesis.noises(1, self.noise_mode, None))


class WholeGraph(nn.Module):
    """(z, c) -> images [N, channels, height, width]."""

    def __init__(self, mapping: MappingGraph, synthesis: SynthesisGraph) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, psi, c), noise)


@dataclass(frozen=True)
class Graph:
    """What is exported: a module that is called with named tensors, and examples of these."""

    module: nn.Module
    output: str  # name of what comes out
    example: Callable[[int, float], Inputs]  # of a batch and a psi; names in the order of the graph's inputs
    about: Mapping[str, Any]  # what the file should say of itself, as JSON

    @property
    def inputs(self) -> list[str]:
        """The names of what goes in, in order."""
        return list(self.example(1, 1.0))

    def described(self) -> dict[str, Any]:
        """What the file says of itself: inputs and output with their shapes, and `about`."""
        inputs = self.example(2, 1.0)
        shapes = {name: _shape(t) for name, t in inputs.items()}
        with torch.no_grad():
            output = _shape(self.module(**inputs))
        return {"inputs": shapes, "output": {self.output: output}, **self.about}

    def check(self, path: Path, run: Callable[[Inputs], Tensor]) -> float:
        """The largest difference between what an export and the module compute, in units as of `TOLERANCE`.

        Args:
            path: of the export, for the error.
            run: calls the export.

        Raises:
            ValueError: when it is not below the tolerance.
        """
        largest = 0.0
        for batch, psi in CASES:
            inputs = self.example(batch, psi)
            with torch.no_grad():
                wanted = self.module(**inputs)
            found = run(inputs)
            fits = found.shape == wanted.shape and bool(found.isfinite().all())
            unit = max(1.0, float(wanted.abs().max()))
            largest = max(largest, float((found - wanted).abs().max()) / unit if fits else float("inf"))
        if not largest < TOLERANCE:
            raise ValueError(
                f"{path} was not written, for what the export computes differs from the network by {largest:.2g}, more "
                f"than {TOLERANCE:g}: other versions of torch, onnx, onnxscript and onnxruntime may do better"
            )
        return largest


def whole_graph(G: Generator, noise_mode: NoiseMode, cutoff: int | None, about: Mapping[str, Any]) -> Graph:
    """(z, c, psi, noise) -> images: the generator in one graph."""
    mapping, synthesis = _mapping(G, cutoff), SynthesisGraph(G.synthesis, noise_mode)

    def example(batch: int, psi: float) -> Inputs:
        return _latents(G, batch, psi) | _noise(synthesis, batch)

    return Graph(WholeGraph(mapping, synthesis), "images", example, about)


def mapping_graph(G: Generator, cutoff: int | None, about: Mapping[str, Any]) -> Graph:
    """(z, c, psi) -> ws: the first half of the generator."""
    return Graph(_mapping(G, cutoff), "ws", lambda batch, psi: _latents(G, batch, psi), about)


def synthesis_graph(G: Generator, noise_mode: NoiseMode, about: Mapping[str, Any]) -> Graph:
    """(ws, noise) -> images: the second half of the generator."""
    mapping, synthesis = _mapping(G, None), SynthesisGraph(G.synthesis, noise_mode)

    def example(batch: int, psi: float) -> Inputs:
        with torch.no_grad():
            ws = mapping(**_latents(G, batch, psi))
        return {"ws": ws.contiguous()} | _noise(synthesis, batch)

    return Graph(synthesis, "images", example, about)


def _mapping(G: Generator, cutoff: int | None) -> MappingGraph:
    return MappingGraph(G.mapping, G.config.num_ws, cutoff)


def _latents(G: Generator, batch: int, psi: float) -> Inputs:
    z = torch.randn(batch, G.config.z_dim, generator=torch.Generator().manual_seed(batch))
    classes = G.config.classes
    labels = {"c": F.one_hot(torch.arange(batch) % classes, classes).float()} if classes else {}
    return {"z": z, **labels, "psi": torch.tensor(psi)}


def _noise(synthesis: SynthesisGraph, batch: int) -> Inputs:
    if synthesis.noise_mode != "random":
        return {}
    return {"noise": torch.randn(batch, synthesis.synthesis.noise_size, generator=torch.Generator().manual_seed(batch))}


def _shape(tensor: Tensor) -> list[int | str]:
    """The batch by its letter: only psi has none."""
    return ["N", *tensor.shape[1:]] if tensor.ndim else []
