"""The making of exports: what is not the network is not left behind. tests/test_convert_graphs.py runs whole ones."""

import pytest
import torch

from models import graphs
from models.graphs import ExportGraph, record, save_onnx, save_program
from models.stylegan2.generatorgraph import graph_of
from tests.networks import tiny_generator


class Double(torch.nn.Module):
    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = offset

    def forward(self, z):
        return 2 * z + self.offset


def example(batch):
    return {"z": torch.full([batch, 3], 50.0)}


@pytest.fixture(scope="module")
def double():
    """A graph of one operator, recorded."""
    graph = ExportGraph(Double(), "y", example, {}, "toy")
    return graph, record(graph)


def test_what_goes_in_and_what_it_says_of_itself():
    G = tiny_generator(classes=2)
    noise = 4 * 4 + 2 * 8 * 8 + 2 * 16 * 16
    z, c, psi = ("z", ["N", 8]), ("c", ["N", 2]), ("psi", [])
    images = {"images": ["N", 3, 16, 16]}
    for graph, inputs, output in (
        (graph_of(G, "whole", "random", None, {"kimg": 1}), [z, c, psi, ("noise", ["N", noise])], images),
        (graph_of(G, "mapping", "random", None, {"kimg": 1}), [z, c, psi], {"ws": ["N", 6, 8]}),
        (graph_of(G, "synthesis", "const", None, {"kimg": 1}), [("ws", ["N", 6, 8])], images),
    ):
        assert graph.inputs == [name for name, _ in inputs]
        assert graph.described() == {"inputs": dict(inputs), "output": output, "kimg": 1}


@pytest.mark.parametrize("mode", ["none", "const"])
def test_noise_that_is_no_input(mode):
    G = tiny_generator()
    graph = graph_of(G, "whole", mode, None, {})
    inputs = graph.example(2)
    torch.testing.assert_close(graph.module(**inputs), G(inputs["z"], None, 0.5, noise_mode=mode), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("save", "ending"), [(save_onnx, "onnx"), (save_program, "pt2")])
def test_an_export_that_computes_anything_else_is_not_left_behind(tmp_path, double, save, ending):
    other = ExportGraph(Double(0.2), "y", example, {}, "toy")
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"before")
    with pytest.raises(ValueError) as error:
        save(path, other, double[1])
    assert str(error.value) == (  # 0.2 of 100
        f"{path} was not written: the export differs from the network by 0.002, more than 0.001: try other versions of "
        "torch, onnx, onnxscript and onnxruntime"
    )
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
    assert save(path, *double) == 0 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("output", [torch.full([1, 3], torch.nan), torch.zeros(1, 2)])
def test_outputs_that_are_no_numbers_or_of_another_shape_are_none(tmp_path, output):
    graph = ExportGraph(Double(), "y", example, {}, "toy")
    with pytest.raises(ValueError, match=r"differs from the network by inf, more than 0\.001"):
        graph.check(tmp_path / "a", lambda inputs: output)


def test_differences_are_in_units_of_the_largest_output_and_of_1_at_least(tmp_path):
    for value, unit in ((50.0, 100.0), (0.1, 1.0)):
        graph = ExportGraph(Double(), "y", lambda batch, value=value: {"z": torch.full([batch, 1], value)}, {}, "toy")
        found = graph.check(tmp_path / "a", lambda inputs, unit=unit: 2 * inputs["z"] + unit * 5e-4)
        assert found == pytest.approx(5e-4, rel=0.02)


def test_networks_too_large_for_onnx(tmp_path, monkeypatch):
    graph = ExportGraph(torch.nn.Linear(3, 2**13), "y", lambda batch: {"input": torch.zeros(batch, 3)}, {}, "toy")
    monkeypatch.setattr(graphs, "LARGEST", 2**17 - 1)
    with pytest.raises(ValueError) as error:
        save_onnx(tmp_path / "a.onnx", graph, record(graph))
    assert str(error.value) == (
        f"{tmp_path / 'a.onnx'}: ONNX files end at 2 GiB, and this network has 0.0: export a .pt2"
    )
    assert not list(tmp_path.iterdir())
