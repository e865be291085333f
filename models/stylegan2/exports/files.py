"""Files of graphs: `torch.export` programs of PyTorch's operators (`.pt2`), and ONNX, which many runtimes compute."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from models.stylegan2.exports.graphs import ExportGraph, Inputs
from system.files import replacing

ABOUT = "stylegan2"  # key of the facts in an ONNX model; in a .pt2 the name of an extra file, with .json
LARGEST = 2**31 - 2**20  # bytes of weights in ONNX: protocol buffers end at 2 GiB

_TRACES = ("stack_trace", "torch_fn", "source_fn_stack", "from_node")  # paths and lines of this machine's files

_WHOLE = 2**63 - 1  # the end of a slice that goes to the end


def record(graph: ExportGraph) -> ExportedProgram:
    """The operators of PyTorch that compute a graph for any batch."""
    inputs = graph.example(2, 1.0)
    batch = Dim("batch", min=1)
    shapes = {name: {0: batch} if tensor.ndim else None for name, tensor in inputs.items()}
    with torch.no_grad(), _quiet():
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
        if node.target is aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
        elif (same or whole) and not any(user.op == "output" for user in node.users):  # outputs are known by name
            node.replace_all_uses_with(args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()


def save_program(path: Path, graph: ExportGraph, program: ExportedProgram) -> float:
    """Write a `.pt2`, read it back, and return the largest difference between its outputs and the module's.

        program = torch.export.load("G.pt2").module()
        images = program(z=z, psi=torch.tensor(0.7))

    Raises:
        ValueError: if the file computes anything else; nothing is written.
    """
    with replacing(path) as temporary, _quiet():
        with temporary.open("wb") as file:
            torch.export.save(program, file, extra_files={f"{ABOUT}.json": json.dumps(graph.described())})
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        return graph.check(path, lambda inputs: loaded(**inputs))


def save_onnx(path: Path, graph: ExportGraph, program: ExportedProgram) -> float:
    """Write an `.onnx`, run it, and return the largest difference between its outputs and the module's.

        session = onnxruntime.InferenceSession("G.onnx")
        (images,) = session.run(None, {"z": z, "psi": np.array(0.7, np.float32)})

    Raises:
        ValueError: if the network is too large for the format, or the file computes anything else; nothing is written.
    """
    import onnxruntime

    weights = sum(t.nbytes for t in graph.module.state_dict().values())
    if weights > LARGEST:
        raise ValueError(f"{path}: ONNX files end at 2 GiB, and this network has {weights / 2**30:.1f}: export a .pt2")
    inputs, names = graph.example(2, 1.0), {"input_names": graph.inputs, "output_names": [graph.output]}
    with replacing(path) as temporary, _quiet():
        model = torch.onnx.export(program, kwargs=inputs, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
        assert model is not None
        _tidy(model)
        model.model.metadata_props[ABOUT] = json.dumps(graph.described())
        model.save(temporary, external_data=False)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])

        def run(inputs: Inputs) -> Tensor:
            (output,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
            return torch.from_numpy(output)

        return graph.check(path, run)


def _tidy(model: Any) -> None:
    """Name the batch, and remove stack traces, which hold paths of this machine."""
    first = next(value for value in model.model.graph.inputs if len(value.shape))
    model.rename_axes({first.shape[0]: "batch"})
    for node in model.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and messages of the exporters."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
