"""The formats that StyleGAN2 is written as: rosinality's files, and graphs that run without this program."""

from typing import Any

from models import graphs
from models.foreign import Format, Job, Notes
from models.graphformats import graph_formats
from models.sampler import Options
from models.stylegan2 import generatorgraph, sampler
from models.stylegan2.choices import NoiseMode
from models.stylegan2.foreign import rosinality
from torch_utils import config as configs
from torch_utils.cli import progress

_GROUP = "Graphs: .onnx and .pt2"
_NOISE = "the network's own noise, an input that the caller fills with normal numbers (random), or none"
_CUTOFF = "number of first layers that the input psi truncates; without it all"
_SPLIT = "write the mapping and the synthesis to NAME-mapping and NAME-synthesis"


class GraphOptions(Options):
    """What a graph takes as inputs, and what it holds."""

    noise_mode: NoiseMode = configs.flag("const", "--noise-mode", _GROUP, _NOISE)
    psi_cutoff: int | None = configs.flag(None, "--psi-cutoff", _GROUP, _CUTOFF, ge=0)
    split: bool = configs.flag(False, "--split", _GROUP, _SPLIT)


def web_graphs(G: Any, source: str) -> Any:
    """The graphs of a page without a server, with the network's own noise: `models.graphs.WebGraphs`."""
    about = {"source": source}
    halves: tuple[Any, Any] = generatorgraph.HALVES
    mapping, synthesis = (generatorgraph.graph_of(G, half, "const", None, about) for half in halves)
    average = G.mapping.w_average.tolist()
    pull = {"strength": "psi", "from": "psi_from", "until": "psi_cutoff"}
    return graphs.WebGraphs(mapping, synthesis, G.config.z_dim, average, pull)


def _write_rosinality(job: Job) -> Notes:
    rosinality.write_rosinality(job.dest, job.networks)
    return {job.dest: ", ".join(job.networks)}


def _write_graphs(job: Job) -> Notes:
    G: Any
    (G,) = job.networks.values()
    options: GraphOptions = job.options
    sampler.check_cutoff(options.psi_cutoff, G.config.num_ws)
    about = {
        "source": job.source,
        "generator": configs.to_dict(G.config),
        "class_names": job.class_names,
        "noise_mode": options.noise_mode,
        "psi_cutoff": options.psi_cutoff,
        "kimg": job.metadata.get("kimg"),
    }
    halves: tuple[generatorgraph.Half, ...] = generatorgraph.HALVES if options.split else ("whole",)
    notes = {}
    for half in progress(halves, len(halves), "graphs"):
        path = job.dest.with_stem(f"{job.dest.stem}-{half}") if options.split else job.dest
        graph = generatorgraph.graph_of(G, half, options.noise_mode, options.psi_cutoff, about)
        notes[path] = graphs.save(path, graph)
    return notes


FORMATS = (Format(".pt", "a .pt", _write_rosinality), *graph_formats(_write_graphs, GraphOptions))
