"""Graphs of PyTorch's own operators: `torch.export` programs, `.pt2` files."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from models.stylegan2.exports.graphs import Graph
from system.files import replacing

ABOUT = "stylegan2.json"  # what the file says of itself, among the extra files of a .pt2

_TRACES = ("stack_trace", "torch_fn", "source_fn_stack", "from_node")  # paths and lines of this machine's files
_WHOLE = 2**63 - 1  # the end of a slice that goes to the end


@dataclass(frozen=True)
class Recording:
    """A graph, and the operators of PyTorch's own that compute it for any batch."""

    graph: Graph
    program: ExportedProgram


def record(graph: Graph) -> Recording:
    """Records what the module of a graph does."""
    inputs = graph.example(2, 1.0)
    batch = Dim("batch", min=1)
    shapes = {name: {0: batch} if tensor.ndim else None for name, tensor in inputs.items()}
    with torch.no_grad(), quiet():
        program = torch.export.export(graph.module.eval(), (), inputs, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        for key in _TRACES:
            node.meta.pop(key, None)
        space = getattr(node.target, "namespace", "aten")
        assert space == "aten", f"{node.target} would not run without this project"
    _tidy(program)
    return Recording(graph, program)


def _tidy(program: ExportedProgram) -> None:
    """Takes out the nodes that do nothing, which are the half of them: they cost time wherever a graph goes."""
    aten, nodes = torch.ops.aten, program.graph
    for node in list(nodes.nodes):
        rest = node.args[1:]
        if any(user.op == "output" for user in node.users):
            continue  # the program knows its output by the node's name
        if node.target is aten._assert_tensor_metadata.default:
            nodes.erase_node(node)
        elif (node.target is aten.to.dtype and rest == (node.args[0].meta["val"].dtype,)) or (
            node.target is aten.slice.Tensor and rest[1:] == (0, _WHOLE)
        ):
            node.replace_all_uses_with(node.args[0])
            nodes.erase_node(node)
    program.graph_module.recompile()


def save_program(path: Path, recording: Recording) -> float:
    """Writes a `.pt2`, reads it back, and returns the largest difference between its outputs and the module's.

        program = torch.export.load("G.pt2").module()
        images = program(z=z, psi=torch.tensor(0.7))

    Raises:
        ValueError: when it computes anything else; then nothing is written.
    """
    graph = recording.graph
    with replacing(path) as temporary, quiet():
        with temporary.open("wb") as file:
            torch.export.save(recording.program, file, extra_files={ABOUT: json.dumps(graph.described())})
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        return graph.check(path, lambda inputs: loaded(**inputs))


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps to themselves what exporters have to say of packages they miss and of functions of their own."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
