"""convert.py to graphs: they compute what the network computes, for any batch, and where this project is not.

Recording a graph takes seconds, so there are two: the halves of a generator in ONNX, and a whole one for torch.
"""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import torch
from click.testing import CliRunner

import convert
from models.families import load_network
from tests.networks import save_tiny

SIZE = {"height": 8, "width": 12, "channel_max": 8}  # one doubling, of 4 x 6
NOISE = 4 * 6 + 2 * 8 * 12  # pixels of all layers
CASES = ((1, 1.0), (3, 0.5), (4, -0.3))  # batch and psi


def converted(*arguments):
    result = CliRunner().invoke(convert.main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line.startswith("wrote")]


def alone(program):
    """Runs a program in a process that knows nothing of this project."""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def opened_onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(**inputs):
        (output,) = session.run(None, {name: t.numpy() for name, t in inputs.items()})
        return torch.from_numpy(output)

    return run


def equal(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def with_noise(G, z, c, psi, noise):
    """The images of G, with each one's noise in the place of the network's own."""
    layers = [layer for block in G.synthesis.blocks for layer in block.layers]
    images = []
    for n, row in enumerate(noise):
        for layer, pixels in zip(layers, row.split([layer.noise.fixed.numel() for layer in layers]), strict=True):
            layer.noise.fixed.copy_(pixels.reshape(layer.noise.fixed.shape))
        images.append(G(z[n : n + 1], c[n : n + 1], psi, 2, "const"))
    return torch.cat(images)


def holds_nothing_of_this_machine(path):
    contents = path.read_bytes()
    words = (b"custom_ops", b"models/stylegan2", b"def forward", str(Path.cwd()).encode())
    assert not [word for word in words if word in contents]


def test_mapping_and_synthesis_in_onnx(tmp_path, monkeypatch):
    """RGB with classes, noise as an input, of which psi truncates two layers."""
    monkeypatch.chdir(tmp_path)
    network = save_tiny(Path("a.safetensors"), **SIZE, classes=2, class_names=("cat", "dog"))
    asked = ["--split", "--noise-mode", "random", "--psi-cutoff", 2]
    lines = converted("--source", network, "--dest", "g.onnx", *asked)
    starts = ("wrote g-mapping.onnx: z, c, psi -> ws, ", "wrote g-synthesis.onnx: ws, noise -> images, ")
    for line, start in zip(lines, starts, strict=True):
        assert float(line.removeprefix(start).split()[2]) < 1e-5
    files = ["a.safetensors", "g-mapping.onnx", "g-synthesis.onnx", "g.onnx.json"]
    assert sorted(path.name for path in Path().iterdir()) == files

    G = load_network(network)
    mapping, synthesis = opened_onnx("g-mapping.onnx"), opened_onnx("g-synthesis.onnx")
    for batch, psi in CASES:
        z, noise = torch.randn(batch, 8), torch.randn(batch, NOISE)
        c = torch.eye(2)[torch.arange(batch) % 2]
        ws = mapping(z=z, c=c, psi=torch.tensor(psi))
        equal(ws, G.ws(z, c, psi, 2))
        equal(synthesis(ws=ws, noise=noise), with_noise(G, z, c, psi, noise))

    inputs = {"z": ["N", 8], "c": ["N", 2], "psi": []}
    check_what_it_says("g-mapping.onnx", inputs, {"ws": ["N", 4, 8]})
    check_what_it_says("g-synthesis.onnx", {"ws": ["N", 4, 8], "noise": ["N", NOISE]}, {"images": ["N", 3, 8, 12]})
    alone(
        """
import numpy as np, onnxruntime, sys
mapping, synthesis = (onnxruntime.InferenceSession(f"g-{half}.onnx") for half in ("mapping", "synthesis"))
z, c, noise = np.zeros((2, 8), np.float32), np.eye(2, dtype=np.float32), np.zeros((2, 216), np.float32)
(ws,) = mapping.run(None, {"z": z, "c": c, "psi": np.array(0.5, np.float32)})
(images,) = synthesis.run(None, {"ws": ws, "noise": noise})
assert images.shape == (2, 3, 8, 12) and "torch" not in sys.modules
"""
    )


def check_what_it_says(path, inputs, output):
    holds_nothing_of_this_machine(Path(path))
    model = onnx.load(path)
    (about,) = (entry.value for entry in model.metadata_props if entry.key == "stylegan2")
    said = json.loads(about)
    assert (said["inputs"], said["output"]) == (inputs, output)
    assert (said["class_names"], said["kimg"], said["source"]) == (["cat", "dog"], 1.5, "a.safetensors")
    assert (said["noise_mode"], said["psi_cutoff"], said["generator"]["w_dim"]) == ("random", 2, 8)
    for value, shape in zip((*model.graph.input, *model.graph.output), (inputs | output).values(), strict=True):
        found = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert found == ["batch" if size == "N" else size for size in shape]


def test_a_whole_generator_for_torch(tmp_path, monkeypatch):
    """Gray without classes, with the network's noise."""
    monkeypatch.chdir(tmp_path)
    network = save_tiny(Path("a.safetensors"), **SIZE, channels=1, clamp=256.0)
    (line,) = converted("--source", network, "--dest", "g.pt2")
    assert float(line.removeprefix("wrote g.pt2: z, psi -> images, ").split()[2]) < 1e-5
    assert sorted(path.name for path in Path().iterdir()) == ["a.safetensors", "g.pt2", "g.pt2.json"]

    alone(
        """
import torch
extra = {"stylegan2.json": ""}
run = torch.export.load("g.pt2", extra_files=extra).module()
z = torch.randn(4, 8)
images = [run(z=z[:batch], psi=torch.tensor(psi)) for batch, psi in ((1, 1.0), (3, 0.5), (4, -0.3))]
torch.save((z, images, extra), "seen.pt")
"""
    )
    z, images, extra = torch.load("seen.pt")
    G = load_network(network)
    for (batch, psi), found in zip(CASES, images, strict=True):
        equal(found, G(z[:batch], None, psi, noise_mode="const"))
    said = json.loads(extra["stylegan2.json"])
    assert (said["inputs"], said["output"]) == ({"z": ["N", 8], "psi": []}, {"images": ["N", 1, 8, 12]})
    assert (said["class_names"], said["noise_mode"], said["psi_cutoff"]) == ([], "const", None)
    holds_nothing_of_this_machine(Path("g.pt2"))
