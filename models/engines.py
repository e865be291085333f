"""Engines that compute a sampler's network in place of PyTorch: onnxruntime, on CPUs and in float32.

Recording a network's graph takes ten seconds or more, so the user's cache keeps it: graphs/DIGEST.graph, by a digest of
the network. The file is a SHA-256 of this program and the ONNX model, 32 bytes, and then the model.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from models import graphformats, graphs
from system.files import open_replacing
from system.resources import cache_folder
from torch_utils.cli import say

Engine = Literal["pytorch", "onnxruntime"]

_HEAD = hashlib.sha256().digest_size
_ROOT = Path(__file__).parents[1]
_ROOMS = ("custom_ops", "models")  # the Python code that a graph is recorded from


def check_onnxruntime(device: torch.device, precision: str) -> None:
    """Raise ValueError unless onnxruntime is installed, the device is a CPU and the precision is fp32."""
    if device.type != "cpu":
        raise ValueError(
            f"--engine onnxruntime computes on a CPU only, and the device is {device.type}: choose --device cpu, or "
            f"leave --engine out"
        )
    if precision != "fp32":
        raise ValueError(f"--engine onnxruntime computes in fp32 only: leave out --precision {precision} or --engine")
    graphformats.require_packages("--engine onnxruntime")


def open_session(graph: graphs.ExportGraph) -> graphs.Run:
    """The function of a graph in onnxruntime, on as many threads as PyTorch uses. Raises ValueError above 2 GiB."""
    graphs.check_size(graph, "--engine onnxruntime", "leave --engine out")
    return graphs.open_onnx(_model(graph))


def _model(graph: graphs.ExportGraph) -> bytes:
    """The ONNX model of a graph, from the cache; a missing, damaged or outdated file is made anew."""
    path = cache_folder() / "graphs" / f"{_network(graph)}.graph"
    kept = path.read_bytes() if path.is_file() else b""
    if kept[:_HEAD] == _digest(kept[_HEAD:]):
        return kept[_HEAD:]
    say("recording the network for onnxruntime, once: this takes ten seconds or more")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.with_suffix(".onnx").name
        graphs.save_onnx(made, graph, graphs.record(graph))
        model = made.read_bytes()
    with open_replacing(path) as file:
        file.write(_digest(model) + model)
    return model


def _network(graph: graphs.ExportGraph) -> str:
    """A digest of the network's configuration and weights."""
    digest = hashlib.sha256(json.dumps([graph.family, graph.about], sort_keys=True).encode())
    for name, tensor in graph.module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:32]


def _digest(model: bytes) -> bytes:
    return hashlib.sha256(_program() + model).digest()


@cache
def _program() -> bytes:
    """A digest of what records graphs: this program, PyTorch and onnxscript."""
    digest = hashlib.sha256(f"{torch.__version__} {version('onnxscript')}".encode())
    for path in sorted(path for room in _ROOMS for path in (_ROOT / room).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()
