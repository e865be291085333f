"""A generator, or a half of it, as a function of named tensors alone, which is what a graph can hold.

    whole       z, c, psi, noise -> images
    mapping     z, c, psi -> ws
    synthesis   ws, noise -> images

c [N, classes] is one-hot, and an input only if the network has classes. psi [] is the truncation. noise [N, P] is an
input only of graphs with random noise: a graph draws nothing, so its caller gives normal numbers for the P pixels of
the noise of all layers. The batch N is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.latents import truncate

TOLERANCE = 1e-3  # of an export's outputs, in units of the largest output, or of 1 if that is smaller
CASES = ((1, 1.0), (3, 0.5))  # batch and psi with which an export is tried

Inputs = dict[str, Tensor]
Half = Literal["whole", "mapping", "synthesis"]


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


@dataclass(frozen=True)
class ExportGraph:
    """A module to export, which is called with named tensors, and examples of these."""

    module: nn.Module
    output: str  # name of the output
    example: Callable[[int, float], Inputs]  # of a batch and a psi; names in the order of the graph's inputs
    about: Mapping[str, Any]  # facts for the file, as JSON

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order."""
        return list(self.example(1, 1.0))

    def described(self) -> dict[str, Any]:
        """The facts in the file: inputs and output with their shapes, and `about`."""
        inputs = self.example(2, 1.0)
        with torch.no_grad():
            output = self.module(**inputs)
        return {"inputs": _shapes(inputs), "output": _shapes({self.output: output}), **self.about}

    def check(self, path: Path, run: Callable[[Inputs], Tensor]) -> float:
        """The largest difference between an export, which `run` calls, and the module; in units as of `TOLERANCE`.

        Raises:
            ValueError: if it is not below the tolerance. The error names the `path` of the export.
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
                f"{path} was not written: the export differs from the network by {largest:.2g}, more than "
                f"{TOLERANCE:g}: try other versions of torch, onnx, onnxscript and onnxruntime"
            )
        return largest


def graph_of(
    G: Generator, half: Half, noise_mode: NoiseMode, cutoff: int | None, about: Mapping[str, Any]
) -> ExportGraph:
    """The graph of a generator, or of its mapping or synthesis network; `cutoff` is the number of truncated w."""

    def example(batch: int, psi: float) -> Inputs:
        source, classes = torch.Generator().manual_seed(batch), G.config.classes
        inputs: dict[str, Any] = {"z": torch.randn(batch, G.config.z_dim, generator=source)}
        if classes:
            inputs["c"] = F.one_hot(torch.arange(batch) % classes, classes).float()
        if half == "synthesis":
            with torch.no_grad():
                inputs = {"ws": G.ws(inputs["z"], inputs.get("c")).contiguous()}
        else:
            inputs["psi"] = torch.tensor(psi)
        if half != "mapping" and noise_mode == "random":
            inputs["noise"] = torch.randn(batch, G.synthesis.noise_size, generator=source)
        return inputs

    module = GeneratorGraph(G, half, noise_mode, cutoff)
    return ExportGraph(module, "ws" if half == "mapping" else "images", example, about)


def _shapes(tensors: Inputs) -> dict[str, list[int | str]]:
    return {name: ["N", *tensor.shape[1:]] if tensor.ndim else [] for name, tensor in tensors.items()}
