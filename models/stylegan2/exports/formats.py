"""The formats of StyleGAN2 alone: rosinality's files, and graphs that run without this program."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from models.foreign import Format, Job, Notes
from models.sampler import Options
from models.stylegan2.foreign.rosinality import write_rosinality
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.sampler import check_cutoff
from torch_utils import config as configs
from torch_utils.cli import progress

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def _graph_flag(flag: str) -> dict[str, Any]:
    return {"flag": flag, "group": "Graphs: .onnx and .pt2"}


class GraphOptions(Options):
    """What a graph takes as inputs, and what it holds."""

    noise_mode: NoiseMode = Field(
        "const",
        description="the network's own noise, an input that the caller fills with normal numbers (random), or none",
        json_schema_extra=_graph_flag("--noise-mode"),
    )
    psi_cutoff: int | None = Field(
        None,
        ge=0,
        description="number of first layers that the input psi truncates; without it all",
        json_schema_extra=_graph_flag("--psi-cutoff"),
    )
    split: bool = Field(
        False,
        description="write the mapping and the synthesis to NAME-mapping and NAME-synthesis",
        json_schema_extra=_graph_flag("--split"),
    )


def check_packages(dest: Path) -> None:
    """Raise ValueError if a package that writes or runs ONNX is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX needs packages that are not installed: pip install {' '.join(missing)}")


def _write_rosinality(job: Job) -> Notes:
    write_rosinality(job.dest, job.networks)
    return {job.dest: ", ".join(job.networks)}


def _write_graphs(job: Job) -> Notes:
    """One graph, or with --split one of the mapping and one of the synthesis."""
    from models.stylegan2.exports import files, graphs  # torch.export and its packages load slowly

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
    save = files.save_onnx if job.dest.suffix.lower() == ".onnx" else files.save_program
    halves: tuple[graphs.Half, ...] = ("mapping", "synthesis") if options.split else ("whole",)
    notes = {}
    for half in progress(halves, len(halves), "graphs"):
        path = job.dest.with_stem(f"{job.dest.stem}-{half}") if options.split else job.dest
        graph = graphs.graph_of(G, half, options.noise_mode, options.psi_cutoff, about)
        difference = save(path, graph, files.record(graph))
        notes[path] = f"{', '.join(graph.inputs)} -> {graph.output}, at most {difference:.1g} off the network"
    return notes


FORMATS = (
    Format(".pt", "a .pt", _write_rosinality),
    Format(".onnx", "an .onnx", _write_graphs, GraphOptions, one=True, check=check_packages),
    Format(".pt2", "a .pt2", _write_graphs, GraphOptions, one=True),
)
