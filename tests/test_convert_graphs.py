"""convert.py to graphs: they compute what the network computes, for any batch, and where this project is not.

Recording a graph takes seconds: each is recorded once, and written both as ONNX and as a program of torch.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from click.testing import CliRunner

import convert
from models.families import load_network
from models.stylegan2.exports.onnx import save_onnx
from models.stylegan2.exports.program import save_program
from sampling import formats
from tests.networks import save_tiny

SIZE = {"height": 8, "width": 12, "channel_max": 8}  # one doubling, of 4 x 6
NOISE = 4 * 6 + 2 * 8 * 12  # pixels of all layers
CASES = ((1, 1.0), (3, 0.5), (4, -0.3))  # batch and psi


def recordings(monkeypatch, name):
    """What goes through `save_onnx` or `save_program` from now on."""
    seen, save = [], getattr(formats, name)
    monkeypatch.setattr(formats, name, lambda path, recording: [seen.append(recording), save(path, recording)][1])
    return seen


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


def opened_program(path, extra=None):
    return torch.export.load(path, extra_files=extra).module()


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


def holds_nothing_of(path, *words):
    contents = path.read_bytes()
    assert not [word for word in words if word in contents]


def test_a_whole_generator(tmp_path, monkeypatch):
    """RGB with classes, noise as an input, of which psi truncates two layers: as ONNX, then as a program of torch."""
    monkeypatch.chdir(tmp_path)
    seen = recordings(monkeypatch, "save_onnx")
    network = save_tiny(Path("a.safetensors"), **SIZE, classes=2, class_names=("cat", "dog"))
    lines = converted("--source", network, "--dest", "g.onnx", "--noise-mode", "random", "--psi-cutoff", 2)
    difference = float(lines[-1].removeprefix("wrote g.onnx: z, c, psi, noise -> images, ").split()[0])
    assert len(lines) == 1 and difference < 1e-5
    assert sorted(path.name for path in Path().iterdir()) == ["a.safetensors", "g.onnx", "g.onnx.json"]
    assert save_program(Path("g.pt2"), *seen) < 1e-5

    G, extra = load_network(network), {"stylegan2.json": ""}
    graphs = [opened_onnx("g.onnx"), opened_program("g.pt2", extra)]
    for batch, psi in CASES:
        z, noise = torch.randn(batch, 8), torch.randn(batch, NOISE)
        c = torch.eye(2)[torch.arange(batch) % 2]
        wanted = with_noise(G, z, c, psi, noise)
        for graph in graphs:
            equal(graph(z=z, c=c, psi=torch.tensor(psi), noise=noise), wanted)

    for path in (Path("g.onnx"), Path("g.pt2")):
        holds_nothing_of(path, b"custom_ops", b"models/stylegan2", b"def forward", str(tmp_path).encode())
    check_what_they_say(json.loads(extra["stylegan2.json"]))
    alone(
        """
import numpy as np, onnxruntime, sys
session = onnxruntime.InferenceSession("g.onnx")
z, c, noise = np.zeros((2, 8), np.float32), np.eye(2, dtype=np.float32), np.zeros((2, 216), np.float32)
(images,) = session.run(None, {"z": z, "c": c, "psi": np.array(0.5, np.float32), "noise": noise})
assert images.shape == (2, 3, 8, 12) and "torch" not in sys.modules
"""
    )


def check_what_they_say(said):
    model = onnx.load("g.onnx")
    (about,) = (entry.value for entry in model.metadata_props if entry.key == "stylegan2")
    assert json.loads(about) == said
    assert said["inputs"] == {"z": ["N", 8], "c": ["N", 2], "psi": [], "noise": ["N", NOISE]}
    assert said["output"] == {"images": ["N", 3, 8, 12]}
    assert (said["class_names"], said["kimg"], said["source"]) == (["cat", "dog"], 1.5, "a.safetensors")
    assert (said["noise_mode"], said["psi_cutoff"], said["generator"]["w_dim"]) == ("random", 2, 8)
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, 8, 12]


def test_mapping_and_synthesis(tmp_path, monkeypatch):
    """Grey without classes, with the network's noise: as programs of torch, then as ONNX."""
    monkeypatch.chdir(tmp_path)
    seen = recordings(monkeypatch, "save_program")
    network = save_tiny(Path("a.safetensors"), **SIZE, channels=1, clamp=256.0)
    lines = converted("--source", network, "--dest", "g.pt2", "--split")
    assert lines[0].startswith("wrote g-mapping.pt2: z, psi -> ws, ")
    assert lines[1].startswith("wrote g-synthesis.pt2: ws -> images, ") and len(lines) == 2
    files = ["a.safetensors", "g-mapping.pt2", "g-synthesis.pt2", "g.pt2.json"]
    assert sorted(path.name for path in Path().iterdir()) == files
    for half, recording in zip(("mapping", "synthesis"), seen, strict=True):
        assert save_onnx(Path(f"g-{half}.onnx"), recording) < 1e-5

    G = load_network(network)
    for opened, ending in ((opened_program, "pt2"), (opened_onnx, "onnx")):
        mapping, synthesis = (opened(f"g-{half}.{ending}") for half in ("mapping", "synthesis"))
        for batch, psi in CASES:
            z = torch.randn(batch, 8)
            ws = mapping(z=z, psi=torch.tensor(psi))
            equal(ws, G.ws(z, None, psi))
            equal(synthesis(ws=ws), G(z, None, psi, noise_mode="const"))

    np.save("z.npy", z.numpy())
    alone(
        """
import numpy as np, torch
mapping, synthesis = (torch.export.load(f"g-{half}.pt2").module() for half in ("mapping", "synthesis"))
ws = mapping(z=torch.from_numpy(np.load("z.npy")), psi=torch.tensor(0.5))
np.save("images.npy", synthesis(ws=ws).numpy(force=True))
"""
    )
    equal(torch.from_numpy(np.load("images.npy")), G(z, None, 0.5, noise_mode="const"))
