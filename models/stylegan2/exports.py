"""The formats of StyleGAN2 alone: rosinality's files, and graphs (ONNX, PyTorch's .pt2) that run without this program.

A graph is a generator, or a half of it, as a function of named tensors:

    whole       z, c, psi, noise -> images
    mapping     z, c, psi -> ws
    synthesis   ws, noise -> images

c [N, classes] is one-hot, an input only of networks with classes; psi [] is the truncation. noise [N, P], an input only
with random noise, are normal numbers for the P pixels of the noise of all layers. The batch N is free.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.foreign import Format, Job, Notes
from models.graphs import ExportGraph, Inputs, WebGraphs, graph_formats, save
from models.sampler import Options
from models.stylegan2.foreign.rosinality import write_rosinality
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.mapping import truncate
from models.stylegan2.sampler import check_cutoff
from torch_utils import config as configs
from torch_utils.cli import progress

_GROUP = "Graphs: .onnx and .pt2"
_NOISE = "the network's own noise, an input that the caller fills with normal numbers (random), or none"
_CUTOFF = "number of first layers that the input psi truncates; without it all"
_SPLIT = "write the mapping and the synthesis to NAME-mapping and NAME-synthesis"
Half = Literal["whole", "mapping", "synthesis"]
_HALVES: tuple[Half, Half] = ("mapping", "synthesis")


class GraphOptions(Options):
    """What a graph takes as inputs, and what it holds."""

    noise_mode: NoiseMode = configs.flag("const", "--noise-mode", _GROUP, _NOISE)
    psi_cutoff: int | None = configs.flag(None, "--psi-cutoff", _GROUP, _CUTOFF, ge=0)
    split: bool = configs.flag(False, "--split", _GROUP, _SPLIT)


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


def web_graphs(G: Generator, source: str) -> WebGraphs:
    """The graphs of a page without a server, with the network's own noise."""
    about = {"source": source}
    mapping, synthesis = (graph_of(G, half, "const", None, about) for half in _HALVES)
    average = G.mapping.w_average.tolist()
    pull = {"strength": "psi", "from": "psi_from", "until": "psi_cutoff"}
    return WebGraphs(mapping, synthesis, G.config.z_dim, average, pull)


def _write_rosinality(job: Job) -> Notes:
    write_rosinality(job.dest, job.networks)
    return {job.dest: ", ".join(job.networks)}


def _write_graphs(job: Job) -> Notes:
    (G,) = job.networks.values()
    assert isinstance(G, Generator)
    options: GraphOptions = job.options
    check_cutoff(options.psi_cutoff, G.config.num_ws)
    about = {
        "source": job.source,
        "generator": configs.to_dict(G.config),
        "class_names": job.class_names,
        "noise_mode": options.noise_mode,
        "psi_cutoff": options.psi_cutoff,
        "kimg": job.metadata.get("kimg"),
    }
    halves: tuple[Half, ...] = _HALVES if options.split else ("whole",)
    notes = {}
    for half in progress(halves, len(halves), "graphs"):
        path = job.dest.with_stem(f"{job.dest.stem}-{half}") if options.split else job.dest
        graph = graph_of(G, half, options.noise_mode, options.psi_cutoff, about)
        notes[path] = save(path, graph)
    return notes


FORMATS = (Format(".pt", "a .pt", _write_rosinality), *graph_formats(_write_graphs, GraphOptions))
