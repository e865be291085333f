"""Files of DiT's and guided-diffusion's programs: made by the published layout, read, held against their numbers."""

import argparse
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import convert
from imaging.imageset import Latent
from models.adm import admfiles
from models.adm.admfiles import GuidedOptions
from models.adm.config import ClassifierConfig, UNetConfig, published_classifier, published_unet
from models.adm.network import NoisyClassifier, UNet
from models.families import read_network
from models.foreign import Told, shapes_of
from tests.parity import test_dit, test_unet
from tests.parity.recorded import error, fill

CLOSE = 2e-5  # float32, as in tests/parity


def state(prefix: str, layout: dict[str, list[int]]) -> dict[str, Tensor]:
    """A state dict by formula; positions are the published ones."""
    positions = test_dit.RECORDED["pos_embed"]
    return {
        name: positions if name == "pos_embed" else torch.from_numpy(fill(f"{prefix}.{name}", tuple(shape)))
        for name, shape in layout.items()
    }


def read(path: Path, contents: Any, *sets: str):
    torch.save(contents, path)
    return read_network(path, Told(sets=sets))


def dit(layout: str = "layout") -> dict[str, Tensor]:
    return state("dit", test_dit.ABOUT["layout"] | test_dit.ABOUT[layout])


@torch.no_grad()
def forward(net: Any, record: Any, prefix: str = "") -> Tensor:
    return net(record[f"{prefix}x"].float(), record["t"], record["y"] if net.config.classes else None)


def test_dit_as_published(tmp_path):
    file = read(tmp_path / "dit.pt", dit(), "heads=4")
    assert file.family.name == "dit" and file.parts == ["ema"]
    net: Any = file.part("ema")
    H, W = test_dit.config().height, test_dit.config().width
    latent = Latent(height=8 * H, width=8 * W, channels=3, scale=0.18215)
    assert net.config == test_dit.config().model_copy(update={"latent": latent})
    assert error(forward(net, test_dit.RECORDED), test_dit.RECORDED["forward"]) < CLOSE
    assert error(net(test_dit.RECORDED["x"].float(), test_dit.RECORDED["t"]), test_dit.RECORDED["forward_null"]) < CLOSE


def test_dit_training_file(tmp_path):
    trained = {name: tensor + 1 for name, tensor in dit().items()}
    options = argparse.Namespace(model="DiT-XL/2", num_classes=7, epochs=[1])
    file = read(tmp_path / "t.pt", {"model": trained, "ema": dit(), "opt": {"state": {}}, "args": options}, "heads=4")
    assert file.parts == ["ema", "net"] and file.shown == "ema"
    assert all(file.tensors[f"ema.{name}"].equal(tensor) for name, tensor in dit().items())
    assert all(file.tensors[f"net.{name}"].equal(tensor) for name, tensor in trained.items())


def test_dit_without_learned_variances(tmp_path):
    net: Any = read(tmp_path / "a.pt", dit("layout_without_sigma"), "heads=4").part("ema")
    assert not net.config.noise.learned_variance
    assert error(forward(net, test_dit.RECORDED), test_dit.RECORDED["no_sigma/forward"]) < CLOSE


def test_dit_whose_labels_were_never_dropped(tmp_path):
    file = read(tmp_path / "a.pt", dit("layout_without_dropout"), "heads=4", "null_class=false")
    net: Any = file.part("ema")
    assert net.config.classes == 7 and net.y_embedder.embedding_table.num_embeddings == 7
    with pytest.raises(ValueError, match="makes pictures of a class only"):
        net(test_dit.RECORDED["x"].float(), test_dit.RECORDED["t"])


def test_dit_heads_of_published_sizes_and_heights(tmp_path):
    layout = {name: shape for name, shape in test_dit.ABOUT["layout"].items() if not name.startswith("blocks.")}
    block = {n[9:]: s for n, s in test_dit.ABOUT["layout"].items() if n.startswith("blocks.0.")}
    layout |= {f"blocks.{i}.{name}": shape for i in range(6) for name, shape in block.items()}
    wide = {name: [192 // 64 * n if n % 64 == 0 else n for n in shape] for name, shape in layout.items()}
    wide["t_embedder.mlp.0.weight"], wide["final_layer.linear.weight"] = [192, 256], [32, 192]
    wide["pos_embed"] = [1, 8, 192]
    contents = {name: torch.zeros(shape) for name, shape in wide.items()}
    with pytest.raises(ValueError, match=r"8 patches of 2 pixels make no square: give --set height=PIXELS"):
        read(tmp_path / "ti.pt", contents)
    with pytest.raises(ValueError, match=r"8 patches of 2 pixels make no pictures of --set height=6"):
        read(tmp_path / "ti.pt", contents, "height=6")
    net: Any = read(tmp_path / "ti.pt", contents, "height=4").part("ema")
    assert (net.config.heads, net.config.height, net.config.width) == (3, 4, 8)


def test_dit_misfits(tmp_path):
    def refused(contents, *sets):
        with pytest.raises(ValueError) as found:
            read(tmp_path / "a.pt", contents, *sets)
        return str(found.value).removeprefix(f"{tmp_path / 'a.pt'} is refused: ")

    assert refused(dit()) == (
        "its 3 blocks of width 64 are no published size, so its attention heads are unknown: give --set heads=NUMBER"
    )
    assert refused(dit(), "heads=5") == "its network cannot be built here: 5 heads do not divide the width 64: take 4"
    assert "there is no such setting" in refused(dit(), "depth=3")
    assert refused(dit() | {"more": torch.zeros(1)}, "heads=4").startswith("1 tensors have no place in this network")
    name = "blocks.1.attn.proj.weight"
    assert (
        refused(dit() | {name: torch.zeros(64, 63)}, "heads=4") == f"its {name} has shape [64, 63], expected [64, 64]"
    )
    assert refused(dit() | {"pos_embed": torch.zeros(1, 16)}, "heads=4").endswith("expected 3 dimensions")
    assert refused({k: v for k, v in dit().items() if "fc1" not in k}, "heads=4").startswith(
        "it has no tensor blocks.0"
    )
    assert refused(dit() | {"x_embedder.proj.weight": 3}, "heads=4").endswith("in its ema is not a plain tensor")


TOLD = {
    "adagn": ("height=16", "head_channels=16", "new_attention_order=false"),
    "additive": ("height=16", "heads=2", "new_attention_order=true"),
    "unconditional": ("height=16", "heads=4", "heads_upsample=2", "new_attention_order=false"),
}


@pytest.mark.parametrize("name", list(TOLD))
def test_unets_as_published(tmp_path, name):
    contents = state("unet", test_unet.ABOUT["layout"][name])
    file = read(tmp_path / "a.pt", contents, *TOLD[name])
    assert file.family.name == "adm" and file.parts == ["ema"]
    net: Any = file.part("ema")
    own, wanted = net.config.model_dump(exclude={"noise"}), test_unet.unet(name, torch.float32).config
    assert own == wanted.model_dump(exclude={"noise"})
    assert error(forward(net, test_unet.RECORDED, f"{name}/"), test_unet.RECORDED[f"{name}/forward"]) < CLOSE


@pytest.mark.parametrize("pool", test_unet.POOLS)
def test_classifiers_as_published(tmp_path, pool):
    whole = test_unet.ABOUT["layout"]["classifier_attention"]
    layout = {name: shape for name, shape in whole.items() if pool == "attention" or not name.startswith("out.")}
    layout |= test_unet.ABOUT["layout"][f"classifier_{pool}"]
    sets = ["head_channels=16", "new_attention_order=false"] + ["height=16"] * (pool != "attention")
    file = read(tmp_path / "a.pt", state("classifier", layout), *sets)
    assert file.family.name == "noise-classifier"
    net: Any = file.part("net")
    assert net.config.height == net.config.width == 16 and net.config.classes == 5
    with torch.no_grad():
        logits = net(test_unet.RECORDED["classifier/x"].float(), test_unet.RECORDED["t"])
    assert error(logits, test_unet.RECORDED[f"classifier/{pool}/logits"]) < CLOSE


class Command:
    """What a hostile pickle asks for."""

    def __reduce__(self):
        return os.system, ("touch done",)


def test_harmful_and_damaged_files_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refused(data: bytes) -> str:
        Path("a.pt").write_bytes(data)
        result = CliRunner().invoke(convert.main, ["--source", "a.pt", "--set", "heads=4"], catch_exceptions=False)
        assert result.exit_code == 2 and len(result.output.splitlines()) == 1
        return result.output.strip()

    def saved(value: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()

    forbidden = "Error: a.pt is refused: it asks for posix.system, which is not allowed; no code of the file was run"
    assert refused(saved({"ema": dit(), "args": Command()})) == forbidden
    assert refused(saved(dit() | {"more": Command()})) == forbidden and not Path("done").exists()
    whole = saved(dit())
    assert refused(whole[: len(whole) // 2]).endswith("not a file of torch.save: download it again")
    assert "_rebuild_sparse_tensor, which is not allowed" in refused(saved(dit() | {"x": torch.eye(4).to_sparse()}))


def test_settings_that_tensors_do_not_say(tmp_path):
    contents = state("unet", test_unet.ABOUT["layout"]["adagn"])

    def refused(contents, *sets):
        with pytest.raises(ValueError) as found:
            read(tmp_path / "a.pt", contents, *sets)
        return str(found.value).removeprefix(f"{tmp_path / 'a.pt'} is refused: ")

    unsaid = "it has no published size, and its tensors do not say everything: give"
    either = ", or --set heads=NUMBER in its place"
    assert refused(contents) == f"{unsaid} --set height=PIXELS --set head_channels=NUMBER{either}"
    assert refused(contents, "height=16") == f"{unsaid} --set head_channels=NUMBER{either}"
    assert refused(contents, "heads=2") == f"{unsaid} --set height=PIXELS"
    assert "do not say the order of its attention's channels" in refused(contents, "heads=2", "height=16")
    assert "attention heads do not divide 64 feature maps" in refused(contents, "heads=5", "height=16")
    assert "cannot be halved 1 times" in refused(contents, "heads=2", "height=15")
    assert "there is no such setting" in refused(contents, "mult=1,2")
    assert refused(contents, "res_blocks=3").startswith("its network cannot be built here: ")
    extra = contents | {"input_blocks.1.1.transformer_blocks.0.x": torch.zeros(2)}
    assert "the first is input_blocks.1.1.transformer_blocks.0.x" in refused(extra)
    assert "is not a plain tensor" in refused(contents | {"out.2.bias": "x"})
    six = contents | {"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}
    assert "it is an upsampler, which also takes a small picture" in refused(six, "heads=2", "height=16")


@pytest.mark.parametrize("side", [64, 128, 256, 512])
@pytest.mark.parametrize("kind", ["U-Net", "unconditional", "classifier"])
def test_published_sizes_say_the_rest(kind, side):
    if kind == "unconditional" and side != 256:
        return
    settings = published_classifier(side) if kind == "classifier" else published_unet(side, 1000 * (kind == "U-Net"))
    part, model = (ClassifierConfig, NoisyClassifier) if kind == "classifier" else (UNetConfig, UNet)
    wanted: Any = part.model_validate(settings)
    with torch.device("meta"):
        shapes = shapes_of(model(wanted).state_dict())
    assert admfiles.config_of(shapes, GuidedOptions()) == wanted
    other = admfiles.config_of(shapes, GuidedOptions(heads=2, schedule="cosine"))
    assert (other.heads, other.head_channels, other.noise.schedule) == (2, 0, "cosine")
    if kind != "classifier":
        other = admfiles.config_of(shapes, GuidedOptions(height=2 * side))
        assert (other.height, other.width, other.heads) == (2 * side, 2 * side, wanted.heads)


def test_the_classifier_of_another_shape():
    shapes = {k: tuple(s) for k, s in test_unet.ABOUT["layout"]["classifier_attention"].items()}
    config = admfiles.config_of(shapes, GuidedOptions(height=8, heads=2, new_attention_order=False))
    assert (config.height, config.width) == (8, 32)
