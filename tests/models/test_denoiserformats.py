"""Denoisers in other formats: folders that diffusers opens, and graphs that run without this project."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import convert
from models.adm.config import UNetConfig
from models.adm.network import UNet
from models.dit.config import DiTConfig
from models.dit.network import DiT
from models.families import load_network, save_network

TINY = {"height": 8, "width": 8, "channels": 3, "classes": 4}
SMALL = TINY | {"model_channels": 8, "groups": 4, "head_channels": 4}
UNETS: dict[str, dict[str, Any]] = {
    "as published": {"mult": (1, 2, 2), "attention": (2, 4), "res_blocks": 2, "noise": {"learned_variance": True}},
    "additive": {"mult": (1, 2), "attention": (1,), "resblock_updown": False, "conditioning": "add"},
    "new order": {"mult": (1, 3), "attention": (2,), "new_attention_order": True, "res_blocks": 1},
    "one head": {"mult": (1, 1), "attention": (2,), "head_channels": 0, "heads": 1, "null_class": False},
    "without classes": {"mult": (1, 2), "attention": (), "classes": 0, "height": 4, "width": 12},
}
DITS: dict[str, dict[str, Any]] = {
    "as published": {"noise": {"objective": "eps", "learned_variance": True}},
    "without classes": {"classes": 0},
    "labels never dropped": {"null_class": False},
}


def dit(**more: Any) -> nn.Module:
    return shaken(DiT(DiTConfig.model_validate(TINY | {"hidden": 32, "depth": 2, "heads": 4} | more)))


def unet(**more: Any) -> nn.Module:
    return shaken(UNet(UNetConfig.model_validate(SMALL | more)))


def shaken(network: nn.Module) -> nn.Module:
    """The network with weights of which none is zero."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=source))
    return network.eval().requires_grad_(False)


def saved(network: nn.Module, folder: Path) -> Path:
    path = folder / "a.safetensors"
    save_network(path, "dit" if isinstance(network, DiT) else "adm", {"ema": network}, {"kimg": 1.5})
    return path


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(convert.main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def refused(*arguments: Any) -> str:
    result = CliRunner().invoke(convert.main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 2 and "Traceback" not in result.output
    return result.output.splitlines()[-1]


def inputs(network: Any, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    config, source = network.config, torch.Generator().manual_seed(batch)
    x = torch.randn(batch, config.channels, config.height, config.width, generator=source)
    return x, torch.linspace(0, 999, batch).round(), torch.arange(batch) % max(config.classes, 1)


def agree(ours: Tensor, theirs: Tensor, within: float = 1e-5) -> bool:
    return float((ours - theirs).abs().max()) < within * float(ours.abs().max())


@pytest.mark.parametrize("name", list(UNETS))
def test_unets_in_diffusers(tmp_path, name):
    diffusers = pytest.importorskip("diffusers")
    network = unet(**UNETS[name])
    path = saved(network, tmp_path)
    assert run("--source", path, "--dest", tmp_path / "out", "--format", "diffusers").endswith("out: UNet2DModel")
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path / "out")
    x, t, c = inputs(network)
    with torch.no_grad():
        found = theirs(x, t, c if network.config.classes else None).sample
    assert agree(network(x, t, c), found)


@pytest.mark.parametrize("name", list(DITS))
def test_transformers_in_diffusers(tmp_path, name):
    diffusers = pytest.importorskip("diffusers")
    network = dit(**DITS[name])
    said = run("--source", saved(network, tmp_path), "--dest", tmp_path / "out", "--format", "diffusers")
    assert "DiTTransformer2DModel; set time_proj.downscale_freq_shift = 0" in said
    theirs = diffusers.DiTTransformer2DModel.from_pretrained(tmp_path / "out")
    x, t, c = inputs(network)
    with torch.no_grad():
        ours, before = network(x, t, c), theirs(x, t, c).sample
        assert agree(ours[:1], before[:1]), "at t = 0 all waves are alike"
        assert not agree(ours, before), "diffusers has other waves: then drop the note"
        for block in theirs.transformer_blocks:
            block.norm1.emb.time_proj.downscale_freq_shift = 0
        assert agree(ours, theirs(x, t, c).sample)


def test_what_diffusers_does_not_hold(tmp_path):
    def reason(network: nn.Module) -> str:
        return refused("--source", saved(network, tmp_path), "--dest", tmp_path / "out", "--format", "diffusers")

    no = "Error: DiTTransformer2DModel of diffusers does not hold this network: its"
    assert reason(dit(block="adaln")) == f"{no} block is adaln, expected adaln-zero"
    assert reason(dit(width=16)) == f"{no} width is 16, expected 8"
    assert reason(dit(mlp_ratio=2)) == f"{no} mlp_ratio is 2.0, expected 4.0"
    assert reason(dit(qk_norm=True)) == f"{no} qk_norm is True, expected False"
    trained = dit()
    trained.get_buffer("pos_embed").add_(0.1)
    assert reason(trained).endswith("has fixed positions, but those of this network were trained")
    no = "Error: UNet2DModel of diffusers"
    assert reason(unet(mult=(2, 3))).startswith(
        f"{no} does not hold this network: its mult is (2.0, 3.0), expected (1,"
    )
    assert reason(unet(conv_skip=True)) == f"{no} does not hold this network: its conv_skip is True, expected False"
    assert reason(unet(conditioning="cross-attention")).startswith(f"{no} has no cross-attention")
    assert reason(unet(resblock_updown=False, conv_resample=False)).startswith(f"{no} has no cross-attention")
    assert reason(unet(mult=(1, 2), attention=(1,), head_channels=0, heads=2)).endswith(
        "this network has [4, 8] channels"
    )
    assert not (tmp_path / "out").exists()


def test_places_that_a_folder_of_diffusers_does_not_take(tmp_path):
    path = saved(dit(), tmp_path)
    assert refused("--source", path, "--dest", path, "--format", "diffusers") == (
        f"Error: {path} is a file, but diffusers needs a folder: name another path"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert refused("--source", path, "--dest", tmp_path / "full", "--format", "diffusers").endswith(
        "holds other things, such as notes.txt: name a new folder"
    )


GRAPHS = [
    (dit(), "onnx"),
    (dit(), "pt2"),
    (dit(classes=0), "pt2"),
    pytest.param(unet(**UNETS["one head"]), "onnx", marks=pytest.mark.proof),
    pytest.param(unet(**UNETS["one head"]), "pt2", marks=pytest.mark.proof),
]


@pytest.mark.parametrize(("network", "ending"), GRAPHS, ids=["dit.onnx", "dit.pt2", "plain.pt2", "adm.onnx", "adm.pt2"])
def test_graphs(tmp_path, network, ending):
    path, names = tmp_path / f"a.{ending}", ["x", "t", *(["c"] if network.config.classes else [])]
    said = run("--source", saved(network, tmp_path), "--dest", path)
    assert f"{', '.join(names)} -> prediction" in said
    if ending == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(path)
        about = session.get_modelmeta().custom_metadata_map
        call = lambda x: torch.from_numpy(session.run(None, {name: v.numpy() for name, v in x.items()})[0])  # noqa: E731
    else:
        about = {"dit.json": "", "adm.json": ""}
        program = torch.export.load(path, extra_files=about).module()
        about = {key.removesuffix(".json"): text for key, text in about.items()}
        call = lambda x: program(**x)  # noqa: E731
    facts = json.loads(about["dit" if isinstance(network, DiT) else "adm"])
    assert list(facts["inputs"]) == names and facts["kimg"] == 1.5
    for batch in (1, 2, 5):
        x = inputs(network, batch)
        # onnxruntime's exponentials of the waves are its own, and t = 999 multiplies them
        assert agree(network(*x), call(dict(zip(names, x, strict=False))), 2e-4 if ending == "onnx" else 1e-5)


def test_the_card_of_a_denoiser_and_its_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = dit(noise={"objective": "eps", "learned_variance": True})
    run("--source", saved(network, tmp_path), "--dest", "my-dit", "--license", "mit")
    card = Path("my-dit/README.md").read_text()
    assert "DiT for 8x8 RGB images in 4 classes" in card and "50 steps, no guidance" in card
    assert "python generate.py --network my-dit --seeds 0-15 --steps 50" in card
    variables: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], variables)
    x, t, c = (variables[name] for name in "xtc")
    assert variables["prediction"].equal(load_network("my-dit")(x, t, c)) and t.tolist() == [999.0]
    assert variables["prediction"].shape == (1, 6, 8, 8)
    assert agree(network(x, t, c), variables["prediction"])
