"""Style transfer: every number recorded from naoto0804's program."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from models.adain.color import match_colors
from models.adain.config import StyleConfig
from models.adain.network import AdaIN, content_loss, style_loss
from models.conditioning import ada_in, statistics
from tests.parity.recorded import Recorded, digest_error, error, filled, probe

RECORDED = Recorded("adain")
SEED, CONFIG = RECORDED.about["seed"], RECORDED.about["config"]
INPUTS = {"features/content", "features/style", "coral/source", "coral/target"}
DOUBLE, SINGLE = torch.float64, torch.float32


def drawn(seed: int, size: Sequence[int], block: int) -> Tensor:
    """Squares of `block` pixels plus fine noise, [3, H, W] in [0, 1), float32 values."""
    height, width = size
    coarse = (3, -(-height // block), -(-width // block))
    squares = np.random.RandomState(seed).rand(*coarse).astype(np.float32)
    squares = squares.repeat(block, 1).repeat(block, 2)[:, :height, :width]
    fine = np.random.RandomState(seed + 1000).rand(3, height, width).astype(np.float32)
    return torch.from_numpy(np.float32(0.7) * squares + np.float32(0.3) * fine)


def network(dtype: torch.dtype) -> AdaIN:
    net = AdaIN(StyleConfig(unbiased=True))
    filled(net.encoder, "vgg")
    filled(net.decoder, "decoder")
    return net.to(dtype).eval()


def functions(dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    content, style = RECORDED["features/content"].to(dtype), RECORDED["features/style"].to(dtype)
    for name, x in (("content", content), ("style", style)):
        found = statistics(x, "instance", unbiased=True)
        yield f"features/{name}_mean", found.mean
        yield f"features/{name}_std", found.std
    constant = torch.ones_like(content)
    yield "features/constant_std", statistics(constant, "instance", unbiased=True).std
    yield "features/adain", ada_in(content, style, unbiased=True)
    yield "features/adain_of_constant", ada_in(constant, style, unbiased=True)
    ours, theirs = content[:, :, :2, :2], style[:, :, :1, 4:8].reshape(*style.shape[:2], 2, 2)
    yield "features/style_loss", style_loss(ours, theirs, unbiased=True)
    yield "features/content_loss", content_loss(ours, theirs)
    source, target = RECORDED["coral/source"].to(dtype), RECORDED["coral/target"].to(dtype)
    yield "coral/result", match_colors(source, target, published=True)
    yield "coral/self", match_colors(source, source)


def inside(net: AdaIN, content: Tensor) -> Iterator[tuple[str, Tensor]]:
    features = net.encoder.features(content)
    for i, x in enumerate(features, 1):
        yield f"encoder/relu{i}_1", probe(x, 64)
        found = statistics(x, "instance", unbiased=True)
        yield f"encoder/relu{i}_1_mean", found.mean.flatten(1)
        yield f"encoder/relu{i}_1_std", found.std.flatten(1)
    x = features[-1]
    for name, layer in net.decoder.named_children():
        x = layer(x)
        if f"decoder/conv{name}" in RECORDED.arrays:
            yield f"decoder/conv{name}", probe(x, 64)
    yield "decoder/of_content", x


def whole(net: AdaIN, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    pairs = {
        "stylised": (drawn(SEED + 10, CONFIG["content"], 8), drawn(SEED + 11, CONFIG["style"], 3)),
        "stylised_odd": (drawn(SEED + 12, CONFIG["odd_content"], 8), drawn(SEED + 13, CONFIG["odd_style"], 3)),
    }
    for name, (content, style) in pairs.items():
        c, s = content[None].to(dtype), style[None].to(dtype)
        for alpha in CONFIG["alphas"]:
            out = net.decoder(net.mix(net.encode(c), [net.measure(s)], [1.0], alpha))
            yield f"{name}/alpha{alpha}", out
            assert net(c, s, alpha).equal(out[..., : c.shape[2], : c.shape[3]])
    content = pairs["stylised"][0][None].to(dtype)
    styles = [drawn(SEED + 20 + i, CONFIG["style"], 2 + 3 * i)[None].to(dtype) for i in range(2)]
    for alpha in CONFIG["alphas"]:
        mixed = net.mix(net.encode(content), [net.measure(s) for s in styles], CONFIG["weights"], alpha)
        yield f"interpolated/alpha{alpha}", net.decoder(mixed)


def training(net: AdaIN, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    contents = torch.stack([drawn(SEED + 30 + i, (32, 32), 8) for i in range(2)]).to(dtype)
    styles = torch.stack([drawn(SEED + 40, (32, 32), 8), drawn(SEED + 41, (32, 32), 3)]).to(dtype)
    theirs = net.encoder.features(styles)
    for alpha in CONFIG["alphas"]:
        wanted = net.mix(net.encode(contents), [net.statistics(theirs[-1])], [1.0], alpha).detach()
        made = net.encoder.features(net.decoder(wanted))
        content = content_loss(made[-1], wanted)
        style = sum(style_loss(a, b.detach(), unbiased=True) for a, b in zip(made, theirs, strict=True))
        assert isinstance(style, Tensor)
        yield f"train/alpha{alpha}/content_loss", content
        yield f"train/alpha{alpha}/style_loss", style
        names = [name for name, _ in net.decoder.named_parameters()]
        gradients = torch.autograd.grad(content + 10 * style, list(net.decoder.parameters()))
        for name, gradient in zip(names, gradients, strict=True):
            yield f"train/alpha{alpha}/grad/decoder.{name}", probe(gradient)
    first = net.encoder.features(contents)[0]
    yield "train/content_relu1_1_style_loss", style_loss(first, theirs[0], unbiased=True)
    yield "train/style_relu1_1_style_loss", style_loss(theirs[0], first, unbiased=True)


@cache
def ours(dtype: torch.dtype) -> dict[str, Tensor]:
    net = network(dtype)
    found = dict(functions(dtype))
    with torch.no_grad():
        found |= dict(inside(net, drawn(SEED + 10, CONFIG["content"], 8)[None].to(dtype)))
        found |= dict(whole(net, dtype))
    return found | dict(training(net, dtype))


def tolerance(key: str, dtype: torch.dtype) -> float:
    if dtype == DOUBLE:
        return 1e-9
    return 1e-2 if "/grad/" in key else 2e-5  # ReLU and max pooling switch


def distance(key: str, value: Tensor) -> float:
    recorded = RECORDED[key]
    is_digest = recorded.ndim == 1 and ("grad" in key or "coder/" in key)
    return digest_error(value, recorded) if is_digest else error(value, recorded)


def test_every_entry_is_compared() -> None:
    assert set(ours(DOUBLE)) == set(RECORDED.arrays) - INPUTS
    assert len(RECORDED.arrays) == 85


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_equal_to_the_published_program(dtype: torch.dtype) -> None:
    errors = {key: distance(key, value) for key, value in ours(dtype).items()}
    assert not {key: found for key, found in errors.items() if not found <= tolerance(key, dtype)}


def test_layout_is_the_published_one() -> None:
    net = network(SINGLE)
    layouts = RECORDED.about["layout"]
    own = {name: list(tensor.shape) for name, tensor in net.encoder.state_dict().items()}
    assert own.items() <= layouts["vgg_normalised.pth"].items() and len(own) == 20
    assert {name: list(t.shape) for name, t in net.decoder.state_dict().items()} == layouts["decoder.pth"]
