"""Graphs in ONNX, which many runtimes compute."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.stylegan2.exports.graphs import Inputs
from models.stylegan2.exports.program import Recording, quiet
from system.files import replacing

ABOUT = "stylegan2"  # key of what the file says of itself, among the metadata of an ONNX model
LARGEST = 2**31 - 2**20  # bytes of weights: protocol buffers end at 2 GiB


def save_onnx(path: Path, recording: Recording) -> float:
    """Writes an `.onnx`, runs it, and returns the largest difference between its outputs and the module's.

        session = onnxruntime.InferenceSession("G.onnx")
        (images,) = session.run(None, {"z": z, "psi": np.array(0.7, np.float32)})

    Raises:
        ValueError: if the network is too large for the format, or the file computes anything else; nothing is written.
    """
    graph = recording.graph
    weights = sum(t.numel() * t.element_size() for t in graph.module.state_dict().values())
    if weights > LARGEST:
        raise ValueError(f"{path}: ONNX files end at 2 GiB, and this network has {weights / 2**30:.1f}: export a .pt2")
    inputs = graph.example(2, 1.0)
    with replacing(path) as temporary, quiet():
        model = torch.onnx.export(
            recording.program,
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=[graph.output],
        )
        assert model is not None
        _tidy(model)
        model.model.metadata_props[ABOUT] = json.dumps(graph.described())
        model.save(temporary, external_data=False)
        session = _session(temporary)
        return graph.check(path, lambda inputs: _run(session, inputs))


def _tidy(model: Any) -> None:
    """Names the batch, and takes out how the graph came about: stack traces, with paths of this machine."""
    first = next(value for value in model.model.graph.inputs if len(value.shape))
    model.rename_axes({first.shape[0]: "batch"})
    for node in model.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Inputs) -> Tensor:
    (output,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return torch.from_numpy(output)
