"""The formats that a network can be written in, each with the options that apply to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.families import NetworkFile, save_network
from models.hubfolder import CARD
from models.stylegan2.exports.graphs import Graph, mapping_graph, synthesis_graph, whole_graph
from models.stylegan2.exports.onnx import check_packages, save_onnx
from models.stylegan2.exports.program import Recording, record, save_program
from models.stylegan2.foreign.rosinality import write_rosinality
from models.stylegan2.generator import NoiseMode
from models.stylegan2.sampler import check_cutoff
from sampling.classes import class_names
from sampling.publication import check_publishable, draw_samples, plan_samples, publish
from torch_utils import config as configs
from torch_utils.cli import progress

DTYPES = {"float32": torch.float32, "float16": torch.float16}
GENERATORS = ("G_ema", "G")
HUB = "hub"

# What `save_network` writes into a file's metadata by itself.
_WRITTEN = ("format", "version", "family", "generator", "discriminator")

Notes = dict[Path, str]  # files that were written, and what is worth saying of each


@dataclass(frozen=True)
class Job:
    """What goes where."""

    file: NetworkFile
    networks: dict[str, nn.Module]
    dest: Path
    dtype: str | None = None
    license: str | None = None
    noise_mode: NoiseMode = "const"
    psi_cutoff: int | None = None
    split: bool = False

    @property
    def generator(self) -> Any:
        """G_ema, or G where there is none."""
        return next(self.networks[name] for name in GENERATORS if name in self.networks)

    def resolved(self, options: Iterable[str]) -> dict[str, Any]:
        """What options came to mean, by their names on the command line."""
        values = {name: getattr(self, name) for name in options}
        values |= {"dtype": str(self.stored).removeprefix("torch.")} if "dtype" in values else {}
        return {name.replace("_", "-"): value for name, value in values.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the source's metadata say, beyond what `save_network` writes."""
        return {key: value for key, value in self.file.metadata.items() if key not in _WRITTEN}

    @property
    def stored(self) -> torch.dtype:
        """The type of the numbers to store: what is asked for, else float16 where the source has nothing else.

        Raises:
            ValueError: when numbers are too large for it.
        """
        tensors = {key: t for key, t in self.file.tensors.items() if key.split(".")[0] in self.networks}
        halves = all(t.dtype == torch.float16 for t in tensors.values())
        dtype = DTYPES[self.dtype] if self.dtype else torch.float16 if halves else torch.float32
        for key, t in tensors.items():
            if not torch.equal(t.isfinite(), t.to(dtype).isfinite()):
                raise ValueError(
                    f"--dtype float16 ends at 65504, and {key} reaches {float(t.abs().max()):.6g}: take float32"
                )
        return dtype


@dataclass(frozen=True)
class Format:
    """A format: its name in sentences, the options that apply, and how it is written."""

    name: str
    options: tuple[str, ...]
    write: Callable[[Job], Notes]
    one: bool = False  # holds one generator, and nothing else
    shows: bool = False  # shows what a generator makes, and so holds one at least
    stylegan2: bool = False  # holds networks of no other family
    check: Callable[[Path], None] = lambda dest: None  # before anything is read


def _write_network(job: Job) -> Notes:
    save_network(job.dest, job.file.metadata["family"], job.networks, job.facts, job.stored)
    return {job.dest: f"{', '.join(job.networks)} in {str(job.stored).removeprefix('torch.')}"}


def _write_rosinality(job: Job) -> Notes:
    write_rosinality(job.dest, job.networks)
    return {job.dest: ", ".join(job.networks)}


def _write_hub(job: Job) -> Notes:
    if job.license is not None and (card := job.dest / CARD).exists():
        raise ValueError(f"--license goes into a new card, and {card} is there: leave it out, or remove the card")
    plan = plan_samples(job.generator.config, job.facts)
    pictures = list(progress(draw_samples(job.generator, plan), plan.total, "samples"))
    family = job.file.metadata["family"]
    names = publish(job.dest, family, job.networks, job.facts, job.stored, pictures, plan, job.license)
    return {job.dest: ", ".join(names)}


def _write_onnx(job: Job) -> Notes:
    return _write_graphs(job, save_onnx)


def _write_program(job: Job) -> Notes:
    return _write_graphs(job, save_program)


def _write_graphs(job: Job, save: Callable[[Path, Recording], float]) -> Notes:
    """One graph, or with `split` one of the mapping and one of the synthesis beside it."""
    G, about = job.generator, _about(job)
    check_cutoff(job.psi_cutoff, G.config.num_ws)
    graphs: dict[Path, Graph] = {job.dest: whole_graph(G, job.noise_mode, job.psi_cutoff, about)}
    if job.split:
        graphs = {
            _half(job.dest, "mapping"): mapping_graph(G, job.psi_cutoff, about),
            _half(job.dest, "synthesis"): synthesis_graph(G, job.noise_mode, about),
        }
    notes = {}
    for path, graph in progress(graphs.items(), len(graphs), "graphs"):
        difference = save(path, record(graph))
        notes[path] = f"{', '.join(graph.inputs)} -> {graph.output}, {difference:.1g} at most from the network"
    return notes


def _about(job: Job) -> dict[str, Any]:
    """What a graph says of itself, beside its inputs."""
    config = job.generator.config
    return {
        "source": job.file.place or job.file.path.name,
        "generator": configs.to_dict(config),
        "class_names": class_names(job.file.metadata, config.classes),
        "noise_mode": job.noise_mode,
        "psi_cutoff": job.psi_cutoff,
        "kimg": job.file.metadata.get("kimg"),
    }


def _half(dest: Path, half: str) -> Path:
    return dest.with_name(f"{dest.stem}-{half}{dest.suffix}")


_GRAPH = ("noise_mode", "psi_cutoff", "split")
FORMATS: dict[str, Format] = {
    ".safetensors": Format("a .safetensors", ("dtype",), _write_network),
    ".pt": Format("a .pt", (), _write_rosinality, stylegan2=True),
    ".onnx": Format("an .onnx", _GRAPH, _write_onnx, one=True, stylegan2=True, check=lambda dest: check_packages()),
    ".pt2": Format("a .pt2", _GRAPH, _write_program, one=True, stylegan2=True),
    HUB: Format("a folder of the Hub", ("dtype", "license"), _write_hub, shows=True, check=check_publishable),
}
