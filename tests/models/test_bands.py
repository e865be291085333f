"""Encoders and decoders band by band beside the same layers one by one."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from custom_ops import winograd
from models.adain import bands
from models.adain.config import StyleConfig
from models.adain.network import AdaIN, Region
from models.adain.tiles import stylize_tiles

CONFIGS = [
    StyleConfig(widths=(5, 6, 7, 8), depths=(2, 2, 4, 1)),
    StyleConfig(widths=(4, 6, 8), depths=(1, 1, 2), colored=False),
    StyleConfig(widths=(6, 4), depths=(3, 1)),
    StyleConfig(widths=(16, 24, 32), depths=(1, 2, 1), patch=2, colored=False),
    StyleConfig(widths=(8,), depths=(2,), patch=2, colored=False),
]
SIZES = [(1, 1), (7, 13), (9, 9), (64, 96), (70, 33)]


def name(config: StyleConfig) -> str:
    return f"{len(config.widths)} sizes, patch {config.patch}"


@pytest.fixture(params=["one band", "many"])
def rows(request, monkeypatch) -> None:
    """Bands as they are, which hold such small pictures whole, or of two rows for each convolution."""
    if request.param == "many":
        monkeypatch.setattr(bands, "BAND", 1)
        monkeypatch.setattr(bands, "LEAST_ROWS", 2)


def network(config: StyleConfig) -> AdaIN:
    torch.manual_seed(0)
    net = AdaIN(config)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def picture(size: tuple[int, int], count: int = 1) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(sum(size)))


def plainly(net: AdaIN, monkeypatch) -> AdaIN:
    monkeypatch.setattr(bands, "applies", lambda x: False)
    return net


def error(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return float((found - wanted).abs().max() / wanted.abs().max())


def made(net: AdaIN, size: tuple[int, int]) -> Iterator[Tensor]:
    """Pictures with one style, two styles, masks and tiles."""
    content = picture(size, 2).double()
    styles = [net.measure(picture(other).double()) for other in ((30, 40), (17, 8))]
    features = net.encode(content)
    yield net(content, picture((20, 31)).double(), alpha=0.7)
    yield net.decode(net.mix(features, styles, [0.3, 0.7]), content.shape)
    ramp = torch.linspace(0, 1, size[1]).expand(1, 1, *size)
    yield net.decode(net.mix_regions(features, styles, [Region(ramp, 0), Region(1 - ramp, 1, 0.5)]), content.shape)
    side = 4 * net.config.factor
    yield from (part.pixels for part in stylize_tiles(net, content[:1], styles, [0.5, 0.5], 1.0, side))


@pytest.mark.parametrize("config", CONFIGS, ids=name)
@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.no_grad()
def test_equal_to_the_layers(config, size, rows, monkeypatch):
    net, content = network(config), picture(size)
    features = net.encode(content)
    pair = features, net.decode(features, content.shape)
    plainly(net, monkeypatch)
    assert error(pair[0], net.encode(content)) < 1e-5
    assert error(pair[1], net.decode(features, content.shape)) < 1e-5


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[3]], ids=name)
@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.no_grad()
def test_every_control_is_equal(config, size, rows, monkeypatch):
    """In double precision, because AdaIN enlarges the rounding of constant features, as a picture of one pixel has."""
    net = network(config).double()
    found = list(made(net, size))
    wanted = list(made(plainly(net, monkeypatch), size))
    assert len(found) >= 4
    assert max(error(a, b) for a, b in zip(found, wanted, strict=True)) < 1e-9


@torch.no_grad()
def test_equal_to_the_layers_by_winograd(monkeypatch):
    net, content = network(StyleConfig(widths=(64, 64), depths=(2, 1), patch=2, colored=False)), picture((97, 130))
    used = list[int]()
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given: used.append(given[-1]) or convolve(*given))
    features = net.encode(content)
    made = net.decode(features, content.shape)
    if not used:
        pytest.skip("Winograd's algorithm serves CPUs with AVX-512 and a compiler")
    plainly(net, monkeypatch)
    assert error(features, net.encode(content)) < 1e-5
    assert error(made, net.decode(features, content.shape)) < 1e-5


def test_gradients_come_from_the_layers(monkeypatch):
    net, content = network(CONFIGS[1]), picture((24, 24))
    monkeypatch.setattr(bands, "run", lambda layers, x: pytest.fail("bands have no gradients"))
    net(content, content).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    exported = torch.export.export(Alone(net.decoder), (net.encode(content).detach(),))
    assert "conv2d" in str(exported.graph)


class Alone(nn.Module):
    """A part called without gradients, as an exported graph is."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = self.part(x)
        return out


@torch.no_grad()
def test_bfloat16_is_as_close_as_the_layers(monkeypatch):
    exact = network(CONFIGS[1])
    content = picture((40, 50))
    wanted = exact(content, content.flip(3))
    short = network(CONFIGS[1]).set_precision("bf16")
    found = short(content, content.flip(3))
    by_layers = plainly(short, monkeypatch)(content, content.flip(3))
    assert found.dtype == torch.float32
    assert (found - wanted).abs().mean() < 1.2 * (by_layers - wanted).abs().mean()
