"""Encoder and decoder of style transfer as ONNX and .pt2, for pictures of any size."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import convert
from models.adain.config import StyleConfig
from models.adain.network import AdaIN
from models.families import load_network, save_network

SIZES = ((1, 37, 50), (2, 64, 24))  # batch, height, width
EPSILON = 1e-5


CONFIGS = {
    "pixels": StyleConfig(widths=(4, 6, 8), depths=(1, 2, 1)),
    "patches": StyleConfig(widths=(6, 8), depths=(2, 1), patch=2, colored=False),
}


@pytest.fixture(scope="module", params=CONFIGS)
def network(request, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("stylegraphs") / "adain.safetensors"
    net = AdaIN(CONFIGS[request.param])
    save_network(path, "adain", {"adain": net}, {})
    save_network(path.with_name("encoder.safetensors"), "adain", {"encoder": net.encoder}, {})
    return path


def converted(source: Path, dest: Path) -> None:
    result = CliRunner().invoke(convert.main, ["--source", str(source), "--dest", str(dest)])
    assert result.exit_code == 0, (result.output, result.exception)


def mixed(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """AdaIN, as docs/style-transfer.md spells it for those who have no PyTorch."""
    (mean, std), (style_mean, style_std) = (
        (f.mean((2, 3), keepdims=True), np.sqrt(f.var((2, 3), keepdims=True) + EPSILON)) for f in (content, style)
    )
    return (content - mean) / std * style_std + style_mean


def test_onnx_of_two_sizes_is_the_network(network, tmp_path):
    converted(network, tmp_path / "x.onnx")
    sessions = {name: onnxruntime.InferenceSession(tmp_path / f"x-{name}.onnx") for name in ("encoder", "decoder")}
    assert sessions["encoder"].get_inputs()[0].shape == ["batch", 3, "height", "width"]
    about = json.loads(sessions["encoder"].get_modelmeta().custom_metadata_map["adain"])
    assert about["inputs"] == {"pictures": ["N", 3, "H", "W"]} and about["factor"] == 4
    assert about["output"] == {"features": ["N", 8, "H", "W"]}
    style = np.random.RandomState(0).rand(1, 3, 33, 21).astype(np.float32)
    encode = lambda pictures: sessions["encoder"].run(None, {"pictures": pictures})[0]  # noqa: E731
    for batch, height, width in SIZES:
        content = np.random.RandomState(1).rand(batch, 3, height, width).astype(np.float32)
        features = mixed(encode(content), encode(style))
        made = sessions["decoder"].run(None, {"features": features})[0][..., :height, :width]
        expected = load_network(network)(torch.from_numpy(content), torch.from_numpy(style))
        assert np.abs(made - expected.numpy()).max() < 1e-5


def test_pt2_of_two_sizes_is_the_network(network, tmp_path):
    converted(network, tmp_path / "x.pt2")
    encode, decode = (torch.export.load(tmp_path / f"x-{name}.pt2").module() for name in ("encoder", "decoder"))
    net = load_network(network)
    for batch, height, width in SIZES:
        content, style = torch.rand(batch, 3, height, width), torch.rand(1, 3, 33, 21)
        features = net.mix(encode(pictures=content), [net.statistics(encode(pictures=style))], [1.0])
        made = decode(features=features)[..., :height, :width]
        torch.testing.assert_close(made, net(content, style), rtol=1e-5, atol=1e-5)


def test_an_encoder_alone_is_one_file(network, tmp_path):
    converted(network.with_name("encoder.safetensors"), tmp_path / "x.pt2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-encoder.pt2", "x.pt2.json"]
