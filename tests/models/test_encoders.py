"""Encoders of style transfer: torchvision's VGG, vgg_normalised.pth, their normalization, and names of both."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

import convert
from models.adain.config import StyleConfig
from models.adain.encoderfiles import PUBLISHED, find
from models.adain.encoders import RARE, encoder_of, normalize
from models.adain.network import AdaIN, Encoder
from models.families import FAMILIES, read_network
from models.foreign import Told

VGG = (6, 6, "M", 8, 8, "M", 10, 10, 10, 10, "M", 12, 12, 12, 12, "M", 12, 12, 12, 12, "M")  # vgg19, narrow


def torchvision(plan: tuple = VGG) -> nn.Sequential:
    """The layers of a VGG as torchvision numbers them, with random weights."""
    layers: list[nn.Module] = []
    channels = 3
    for each in plan:
        if each == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, each, 3, padding=1), nn.ReLU()]
            channels = each
    return nn.Sequential(*layers)


@pytest.fixture
def vgg(tmp_path) -> tuple[nn.Sequential, Path]:
    torch.manual_seed(0)
    net = torchvision()
    tensors = {f"features.{name}": tensor for name, tensor in net.state_dict().items()}
    path = tmp_path / "vgg19-tiny.pth"
    torch.save(tensors | {"classifier.0.weight": torch.rand(4, 12), "classifier.0.bias": torch.rand(4)}, path)
    return net, path


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        noise = np.random.RandomState(i).randint(0, 256, (40 + 9 * i, 64, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return folder


def drawn(size: tuple[int, int], seed: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def run(*words) -> str:
    result = CliRunner().invoke(convert.main, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*words) -> str:
    result = CliRunner().invoke(convert.main, [str(word) for word in words])
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.output


def reflected(net: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The first features of each size of torchvision's network, its inputs normalized, with reflection at the frame."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found: list[Tensor] = []
    x, first = (x - mean[:, None, None]) / std[:, None, None], True
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias).relu()
            if first and len(found) < 4:
                found.append(x)
            first = False
        elif isinstance(layer, nn.MaxPool2d):
            x, first = F.max_pool2d(x, 2, ceil_mode=True), True
    return found


def test_torchvision_is_read_with_its_normalization_of_inputs(vgg):
    net, path = vgg
    encoder = encoder_of(read_network(path), "--encoder")
    assert encoder.config.widths == (6, 8, 10, 12) and encoder.config.depths == (2, 2, 4, 1)
    x = drawn((37, 50), 1)
    with torch.no_grad():
        for ours, theirs in zip(encoder.features(x), reflected(net, x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def means(encoder: Encoder, pictures: list[Tensor]) -> list[Tensor]:
    """The mean of every feature of every layer, over all positions of all pictures."""
    found, layers = [], list(encoder)
    for end in [i + 1 for i, layer in enumerate(encoder) if isinstance(layer, nn.ReLU)]:
        each = [nn.Sequential(*layers[:end])(x).flatten(2).double() for x in pictures]
        found.append(torch.cat(each, dim=2).mean((0, 2)))
    return found


@torch.no_grad()
def test_normalized_features_have_mean_one_and_are_the_old_ones_divided():
    torch.manual_seed(0)
    encoder = Encoder(StyleConfig(widths=(6, 8, 10), depths=(2, 3, 1)))
    dead = encoder[5]  # the second convolution; its first feature is never active
    assert isinstance(dead, nn.Conv2d) and dead.bias is not None
    dead.weight[0], dead.bias[0] = 0, -1
    pictures = [drawn((40, 31), 1), drawn((24, 64), 2)]
    before, old = means(encoder, pictures), encoder.features(pictures[0])
    rare = normalize(encoder, iter(pictures))
    after, new = means(encoder, pictures), encoder.features(pictures[0])
    divisors = [torch.where(mean < RARE * mean.mean(), mean.mean(), mean) for mean in before]
    assert rare == sum(int((mean < RARE * mean.mean()).sum()) for mean in before) >= 1
    for was, now, divisor in zip(before, after, divisors, strict=True):
        torch.testing.assert_close(now, was / divisor, rtol=1e-5, atol=1e-6)
        assert int(((now - 1).abs() < 1e-5).sum()) >= len(now) - rare
    taps = [sum(isinstance(layer, nn.ReLU) for layer in list(encoder)[:tap]) for tap in encoder.taps]
    for layer, was, now in zip(taps, old, new, strict=True):
        torch.testing.assert_close(now, was / divisors[layer].float()[:, None, None], rtol=1e-4, atol=1e-5)


def test_convert_normalizes_on_pictures(vgg, photos, tmp_path):
    _, path = vgg
    dest = tmp_path / "encoder.safetensors"
    said = run("--source", path, "--normalize-on", photos, "--dest", dest)
    assert "torchvision's VGG" in said and "an encoder alone" in said
    file = read_network(dest)
    assert file.parts == ["encoder"] and "features divided by their means on photos" in said
    shown = [torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1)[None] / 255 for p in sorted(photos.iterdir())]
    for mean in means(encoder_of(file, ""), shown):
        common = mean > RARE
        torch.testing.assert_close(mean[common], torch.ones(int(common.sum())).double(), rtol=1e-4, atol=1e-5)
    raw = tmp_path / "raw.safetensors"
    run("--source", path, "--dest", raw)
    assert read_network(raw).metadata["source"]["unscaled"] is True


def test_vgg_normalised_is_an_encoder_and_goes_back(tmp_path):
    torch.manual_seed(0)
    whole = AdaIN(StyleConfig())
    tensors = whole.encoder.state_dict() | {"32.weight": torch.rand(512, 512, 3, 3), "32.bias": torch.rand(512)}
    torch.save(tensors, tmp_path / "vgg_normalised.pth")
    run("--source", tmp_path / "vgg_normalised.pth", "--dest", tmp_path / "encoder.safetensors")
    encoder = encoder_of(read_network(tmp_path / "encoder.safetensors"), "")
    assert encoder.config == StyleConfig()
    assert all(tensor.equal(tensors[name]) for name, tensor in encoder.state_dict().items())
    run("--source", tmp_path / "encoder.safetensors", "--dest", tmp_path / "back.pth")
    written = torch.load(tmp_path / "back.pth", weights_only=True)
    assert all(written[name].equal(tensor) for name, tensor in whole.encoder.state_dict().items())


def test_other_files_are_refused_in_a_sentence(vgg, photos, tmp_path):
    net, path = vgg
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("--source", path, "--normalize-on", tmp_path / "empty", "--dest", tmp_path / "x.pth")
    assert "does not exist" in refused("--source", path, "--normalize-on", tmp_path / "gone")
    assert "--encoder does not apply to a file of torchvision's VGG" in refused("--source", path, "--encoder", path)
    norms = {f"features.{name}": t for name, t in net.state_dict().items()} | {"features.1.weight": torch.ones(6)}
    torch.save(norms, tmp_path / "vgg19_bn.pth")
    said = refused("--source", tmp_path / "vgg19_bn.pth")
    assert "its layers are not those of a VGG without batch normalization" in said
    torch.save({"0.weight": torch.rand(3, 3, 1, 1)}, tmp_path / "part.pth")
    assert "its layers are not those of a VGG" in refused("--source", tmp_path / "part.pth")
    assert "needs an encoder, but" in refused_encoder("assets/faces64.safetensors")
    with pytest.raises(ValueError, match="has no adain, only encoder"):
        read_network(path, Told()).part("adain")
    assert not list(tmp_path.glob("x*"))


def refused_encoder(place: str) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        encoder_of(read_network(find(place)), "--encoder")
    return str(error.value)


def test_the_bundled_encoder_is_found_or_missed_in_a_sentence(monkeypatch, tmp_path):
    from models.adain import encoderfiles

    monkeypatch.setattr(encoderfiles, "BUNDLED", tmp_path / "style.safetensors")
    with pytest.raises(FileNotFoundError, match=r"there is no assets/style.safetensors here: name another encoder"):
        find("bundled")
    with pytest.raises(FileNotFoundError, match=r"vgg91: there is no such file: give a file, bundled, or a name"):
        find("vgg91")
    (tmp_path / "style.safetensors").touch()
    assert find("bundled") == tmp_path / "style.safetensors" and find("vgg19") == "vgg19"


def test_published_names_have_digests_and_are_downloaded_when_named(vgg, monkeypatch):
    assert FAMILIES["adain"].published == PUBLISHED and all(each.digest for each in PUBLISHED.values())
    name, digest = PUBLISHED["vgg19"].url.rpartition("-")[2], PUBLISHED["vgg19"].digest
    assert name == f"{digest}.pth"  # torchvision's names end in the first digits
    asked = []

    def fetch(url: str, path: Path, digest: str, check: object) -> Path:
        asked.append((url, path.name, digest))
        return vgg[1]

    monkeypatch.setattr("torch_utils.download.fetch", fetch)
    assert encoder_of(read_network("vgg19"), "").config.widths == (6, 8, 10, 12)
    assert asked == [("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "vgg19-dcbb9e9d.pth", "dcbb9e9d")]
