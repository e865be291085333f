"""Networks as graphs of operators, ONNX and PyTorch's .pt2, that run without this program."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from system.files import replacing

TOLERANCE = 1e-3  # of an export's outputs, in units of the largest output, or of 1 if that is smaller
BATCHES = (1, 3)  # with which an export is tried
LARGEST = 2**31 - 2**20  # bytes of weights in ONNX: protocol buffers end at 2 GiB

_TRACES = ("stack_trace", "torch_fn", "source_fn_stack", "from_node")  # paths and lines of this machine's files
_WHOLE = 2**63 - 1  # the end of a slice that goes to the end

Inputs = dict[str, Tensor]
Run = Callable[[Inputs], Tensor]


@dataclass(frozen=True)
class ExportGraph:
    """A module to export, which is called with named tensors, and examples of these."""

    module: nn.Module
    output: str  # name of the output
    example: Callable[[int], Inputs]  # of a batch; names in the order of the graph's inputs; sizes differ if `sized`
    about: Mapping[str, Any]  # facts for the file, as JSON
    family: str  # key of the facts in an ONNX model; in a .pt2 the name of an extra file, with .json
    sized: bool = False  # height and width of its one input, [N, C, H, W], are free, too

    @property
    def axes(self) -> dict[int, str]:
        """The free axes of inputs, with their names."""
        return {0: "batch"} | ({2: "height", 3: "width"} if self.sized else {})

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order."""
        return list(self.example(1))

    @torch.no_grad()
    def described(self) -> dict[str, Any]:
        """The facts in the file: inputs and output with their shapes, and `about`."""
        inputs, free = self.example(2), {0: "N"} | ({2: "H", 3: "W"} if self.sized else {})
        shapes = [
            {name: [free.get(axis, size) for axis, size in enumerate(tensor.shape)] for name, tensor in tensors.items()}
            for tensors in (inputs, {self.output: self.module(**inputs)})
        ]
        return {"inputs": shapes[0], "output": shapes[1], **self.about}

    @torch.no_grad()
    def check(self, path: Path, run: Run) -> float:
        """The largest difference between an export, which `run` calls, and the module; ValueError if too large."""
        largest = 0.0
        for batch in BATCHES:
            inputs = self.example(batch)
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


@dataclass(frozen=True)
class WebGraphs:
    """What a page in the browser computes pictures with: z and c -> w, w pulled towards its average, w -> image."""

    mapping: ExportGraph  # z [N, D], c [N, classes] if there are classes, psi [] -> ws [N, L, D]
    synthesis: ExportGraph  # ws -> images
    width: int  # of z
    average: list[float]  # w, [D]
    pull: Mapping[str, str]  # fields of the family's options: "strength", and the layers "from" and "until"


def record(graph: ExportGraph) -> ExportedProgram:
    """The operators of PyTorch that compute a graph for any batch."""
    inputs = graph.example(2)
    # PyTorch cannot prove that pooling which rounds up fits every height, so heights and widths are not declared.
    free = {axis: Dim.DYNAMIC if axis else Dim("batch", min=1) for axis in graph.axes}
    shapes = {name: free if tensor.ndim else None for name, tensor in inputs.items()}
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
            torch.export.save(program, file, extra_files={f"{graph.family}.json": json.dumps(graph.described())})
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        return graph.check(path, lambda inputs: loaded(**inputs))


def save_onnx(path: Path, graph: ExportGraph, program: ExportedProgram) -> float:
    """Write an `.onnx`, and return the largest difference between its outputs and the module's, as of `check`.

    It is called as `InferenceSession("G.onnx").run(None, {"z": z, "psi": np.array(0.7, np.float32)})`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    check_size(graph, path, "export a .pt2")
    inputs, names = graph.example(2), {"input_names": graph.inputs, "output_names": [graph.output]}
    with replacing(path) as temporary, warnings.catch_warnings(action="ignore"):
        model: Any = torch.onnx.export(program, kwargs=inputs, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
        first = next(value for value in model.model.graph.inputs if len(value.shape))
        model.rename_axes({first.shape[axis]: name for axis, name in graph.axes.items()})
        for node in model.model.graph.all_nodes():  # stack traces hold paths of this machine
            node.metadata_props.clear()
            node.doc_string = None
        model.model.metadata_props[graph.family] = json.dumps(graph.described())
        model.save(temporary, external_data=False)
        return graph.check(path, open_onnx(temporary))


def check_size(graph: ExportGraph, what: Path | str, instead: str) -> None:
    """Raise ValueError if a graph's weights do not fit into ONNX: `what` needs ONNX, and `instead` avoids it."""
    weights = sum(t.nbytes for t in graph.module.state_dict().values())
    if weights > LARGEST:
        raise ValueError(f"{what}: ONNX files end at 2 GiB, and this network has {weights / 2**30:.1f}: {instead}")


def open_onnx(model: Path | bytes) -> Run:
    """The function of an ONNX model in onnxruntime, on a CPU, on as many threads as PyTorch uses."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # without it onnxruntime reports its use to Microsoft
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Tensor:
        (output,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return torch.from_numpy(output)

    return run


def save(path: Path, graph: ExportGraph) -> str:
    """Write an `.onnx` or a `.pt2`, by the ending of `path`; returns a remark for the user. ValueError as `check`."""
    write = save_onnx if path.suffix.lower() == ".onnx" else save_program
    difference = write(path, graph, record(graph))
    return f"{', '.join(graph.inputs)} -> {graph.output}, at most {difference:.1g} off the network"
