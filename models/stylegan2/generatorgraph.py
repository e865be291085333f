"""A generator, or a half of it, as a function of named tensors:

    whole       z, c, psi, noise -> images
    mapping     z, c, psi -> ws
    synthesis   ws, noise -> images

c [N, classes] is one-hot, an input only of networks with classes; psi [] is the truncation. noise [N, P], an input only
with random noise, are normal numbers for the P pixels of the noise of all layers. The batch N is free.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.graphs import ExportGraph, Inputs, Run
from models.stylegan2.choices import NoiseMode
from models.stylegan2.generator import Generator, Synthesis
from models.stylegan2.mapping import truncate
from torch_utils import config as configs

Half = Literal["whole", "mapping", "synthesis"]
HALVES: tuple[Half, Half] = ("mapping", "synthesis")


class GeneratorGraph(nn.Module):
    """The function of a generator, or of a half of it."""

    def __init__(self, G: Generator, half: Half, noise_mode: NoiseMode, cutoff: int | None) -> None:
        super().__init__()
        self.mapping = G.mapping if half != "synthesis" else None
        self.synthesis = G.synthesis if half != "mapping" else None
        self.num_ws, self.noise_mode, self.cutoff = G.config.num_ws, noise_mode, cutoff

    def forward(
        self,
        z: Tensor | None = None,
        c: Tensor | None = None,
        psi: Tensor | None = None,
        ws: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        if self.mapping is not None:
            assert psi is not None
            ws = self.mapping(z, c)[:, None, :].expand(-1, self.num_ws, -1)  # [N, L, D]
            ws = truncate(ws, self.mapping.w_average, psi, self.cutoff)
        assert ws is not None
        if self.synthesis is None:
            return ws
        if noise is not None:
            return self.synthesis.render(ws, self.synthesis.parted_noise(noise))
        return self.synthesis.render(ws, self.synthesis.noises(1, self.noise_mode, None))


class SynthesisGraph(nn.Module):
    """The function of a synthesis network: w [N, L, D] and the noise of all layers in a row [N, P] -> images.

    The noise is what layers add: it has been multiplied by their strength.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, ws: Tensor, noise: Tensor) -> Tensor:
        sizes = [layer.noise.fixed.shape for layer in self.synthesis.layers]
        parts = noise.split([size.numel() for size in sizes], dim=1)
        return self.synthesis.render(ws, [p.reshape(-1, 1, *size) for p, size in zip(parts, sizes, strict=True)])


class EngineSynthesis:
    """A synthesis network that another engine computes, as of `Synthesis.render`."""

    def __init__(self, G: Generator, engine: Callable[[ExportGraph], Run]) -> None:
        self.pixels = [layer.noise.fixed.numel() for layer in G.synthesis.layers]
        example = graph_of(G, "synthesis", "random", None, {}).example
        about = {"generator": configs.to_dict(G.config)}
        self.run = engine(ExportGraph(SynthesisGraph(G.synthesis), "images", example, about, "stylegan2"))

    def render(self, ws: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """w [N, L, D] and the noise of each layer, [H, W] or [N, 1, H, W] -> images [N, channels, H, W]."""
        parts = [
            ws.new_zeros(len(ws), pixels) if noise is None else noise.reshape(-1, pixels).expand(len(ws), -1)
            for noise, pixels in zip(noises, self.pixels, strict=True)
        ]
        return self.run({"ws": ws, "noise": torch.cat(parts, dim=1)})


def graph_of(
    G: Generator, half: Half, noise_mode: NoiseMode, cutoff: int | None, about: Mapping[str, Any]
) -> ExportGraph:
    """The graph of a generator, or of its mapping or synthesis network; `cutoff` is the number of truncated w."""

    def example(batch: int) -> Inputs:
        source, classes = torch.Generator().manual_seed(batch), G.config.classes
        inputs: dict[str, Any] = {"z": torch.randn(batch, G.config.z_dim, generator=source)}
        if classes:
            inputs["c"] = F.one_hot(torch.arange(batch) % classes, classes).float()
        if half == "synthesis":
            with torch.no_grad():
                inputs = {"ws": G.ws(inputs["z"], inputs.get("c")).contiguous()}
        else:
            inputs["psi"] = torch.tensor(1.0 if batch == 1 else 0.5)
        if half != "mapping" and noise_mode == "random":
            inputs["noise"] = torch.randn(batch, G.synthesis.noise_size, generator=source)
        return inputs

    module = GeneratorGraph(G, half, noise_mode, cutoff)
    return ExportGraph(module, "ws" if half == "mapping" else "images", example, about, "stylegan2")
