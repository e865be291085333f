"""The formats of StyleGAN2 alone: rosinality's files, and graphs (ONNX, PyTorch's .pt2) that run without this program.

A graph is a generator, or a half of it, as a function of named tensors:

    whole       z, c, psi, noise -> images
    mapping     z, c, psi -> ws
    synthesis   ws, noise -> images

c [N, classes] is one-hot, an input only of networks with classes; psi [] is the truncation. noise [N, P], an input only
with random noise, are normal numbers for the P pixels of the noise of all layers. The batch N is free.
"""

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from models.foreign import Format, Job, Notes
from models.sampler import Options
from models.stylegan2.foreign.rosinality import write_rosinality
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.mapping import truncate
from models.stylegan2.sampler import check_cutoff
from system.files import replacing
from torch_utils import config as configs
from torch_utils.cli import progress

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3  # of an export's outputs, in units of the largest output, or of 1 if that is smaller
CASES = ((1, 1.0), (3, 0.5))  # batch and psi with which an export is tried
ABOUT = "stylegan2"  # key of the facts in an ONNX model; in a .pt2 the name of an extra file, with .json
LARGEST = 2**31 - 2**20  # bytes of weights in ONNX: protocol buffers end at 2 GiB

_GROUP = "Graphs: .onnx and .pt2"
_NOISE = "the network's own noise, an input that the caller fills with normal numbers (random), or none"
_CUTOFF = "number of first layers that the input psi truncates; without it all"
_SPLIT = "write the mapping and the synthesis to NAME-mapping and NAME-synthesis"
_TRACES = ("stack_trace", "torch_fn", "source_fn_stack", "from_node")  # paths and lines of this machine's files
_WHOLE = 2**63 - 1  # the end of a slice that goes to the end

Inputs = dict[str, Tensor]
Half = Literal["whole", "mapping", "synthesis"]


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

    @torch.no_grad()
    def described(self) -> dict[str, Any]:
        """The facts in the file: inputs and output with their shapes, and `about`."""
        inputs = self.example(2, 1.0)
        shapes = [
            {name: ["N", *tensor.shape[1:]] if tensor.ndim else [] for name, tensor in tensors.items()}
            for tensors in (inputs, {self.output: self.module(**inputs)})
        ]
        return {"inputs": shapes[0], "output": shapes[1], **self.about}

    @torch.no_grad()
    def check(self, path: Path, run: Callable[[Inputs], Tensor]) -> float:
        """The largest difference between an export, which `run` calls, and the module; ValueError if too large."""
        largest = 0.0
        for batch, psi in CASES:
            inputs = self.example(batch, psi)
            wanted, found = self.module(**inputs), run(inputs)
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


def record(graph: ExportGraph) -> ExportedProgram:
    """The operators of PyTorch that compute a graph for any batch."""
    inputs = graph.example(2, 1.0)
    batch = Dim("batch", min=1)
    shapes = {name: {0: batch} if tensor.ndim else None for name, tensor in inputs.items()}
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        program = torch.export.export(graph.module.eval(), (), inputs, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        for key in _TRACES:
            node.meta.pop(key, None)
        space = getattr(node.target, "namespace", "aten")
        assert space == "aten", f"{node.target} would not run without this project"
    _remove_idle(program)
    return program


def _remove_idle(program: ExportedProgram) -> None:
    """Remove nodes that do nothing: with them a `.pt2` is a seventh slower."""
    aten = torch.ops.aten
    for node in list(program.graph.nodes):
        args: list[Any] = list(node.args)
        same = node.target is aten.to.dtype and args[1:] == [args[0].meta["val"].dtype]
        whole = node.target is aten.slice.Tensor and args[2:] == [0, _WHOLE]
        idle = (same or whole) and not any(user.op == "output" for user in node.users)  # outputs are known by name
        if idle:
            node.replace_all_uses_with(args[0])
        if idle or node.target is aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()


def save_program(path: Path, graph: ExportGraph, program: ExportedProgram) -> float:
    """Write a `.pt2`, and return the largest difference between its outputs and the module's, as of `check`.

    It is called as `torch.export.load("G.pt2").module()(z=z, psi=torch.tensor(0.7))`.
    """
    with replacing(path) as temporary, warnings.catch_warnings(action="ignore"):
        with temporary.open("wb") as file:
            torch.export.save(program, file, extra_files={f"{ABOUT}.json": json.dumps(graph.described())})
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        return graph.check(path, lambda inputs: loaded(**inputs))


def save_onnx(path: Path, graph: ExportGraph, program: ExportedProgram) -> float:
    """Write an `.onnx`, and return the largest difference between its outputs and the module's, as of `check`.

    It is called as `InferenceSession("G.onnx").run(None, {"z": z, "psi": np.array(0.7, np.float32)})`.
    """
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    weights = sum(t.nbytes for t in graph.module.state_dict().values())
    if weights > LARGEST:
        raise ValueError(f"{path}: ONNX files end at 2 GiB, and this network has {weights / 2**30:.1f}: export a .pt2")
    inputs, names = graph.example(2, 1.0), {"input_names": graph.inputs, "output_names": [graph.output]}
    with replacing(path) as temporary, warnings.catch_warnings(action="ignore"):
        model: Any = torch.onnx.export(program, kwargs=inputs, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
        first = next(value for value in model.model.graph.inputs if len(value.shape))
        model.rename_axes({first.shape[0]: "batch"})
        for node in model.model.graph.all_nodes():  # stack traces hold paths of this machine
            node.metadata_props.clear()
            node.doc_string = None
        model.model.metadata_props[ABOUT] = json.dumps(graph.described())
        model.save(temporary, external_data=False)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])

        def run(inputs: Inputs) -> Tensor:
            (output,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
            return torch.from_numpy(output)

        return graph.check(path, run)


def check_packages(dest: Path) -> None:
    """Raise ValueError if a package that writes or runs ONNX is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX needs packages that are not installed: pip install {' '.join(missing)}")


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
    save = save_onnx if job.dest.suffix.lower() == ".onnx" else save_program
    halves: tuple[Half, ...] = ("mapping", "synthesis") if options.split else ("whole",)
    notes = {}
    for half in progress(halves, len(halves), "graphs"):
        path = job.dest.with_stem(f"{job.dest.stem}-{half}") if options.split else job.dest
        graph = graph_of(G, half, options.noise_mode, options.psi_cutoff, about)
        difference = save(path, graph, record(graph))
        notes[path] = f"{', '.join(graph.inputs)} -> {graph.output}, at most {difference:.1g} off the network"
    return notes


FORMATS = (
    Format(".pt", "a .pt", _write_rosinality),
    Format(".onnx", "an .onnx", _write_graphs, GraphOptions, one=True, check=check_packages),
    Format(".pt2", "a .pt2", _write_graphs, GraphOptions, one=True),
)
