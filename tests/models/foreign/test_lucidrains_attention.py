"""lucidrains' generators with attention, of all versions, and with first features of w: against its equations."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from models.families import load_network, read_network, save_network
from models.stylegan2.foreign.lucidrains import Scaling
from models.stylegan2.foreign.lucidrainsconfig import LucidrainsConfig
from tests.models.foreign.test_lucidrains import SIZE, WIDTHS, D, network, reference, state


def attention(block: int, form: str = "1.8.8") -> dict[str, torch.Tensor]:
    """The tensors of attention in front of a block."""
    C, name = WIDTHS[max(block - 1, 0)], f"GE.attns.{block}"
    shapes = {f"{name}.0.fn.fn.to_q.weight": [512, C, 1, 1], f"{name}.0.fn.fn.to_kv.net.0.weight": [C, 1, 3, 3]}
    shapes |= {f"{name}.0.fn.fn.to_kv.net.1.weight": [1024, C, 1, 1], f"{name}.0.fn.fn.to_out.weight": [C, 512, 1, 1]}
    shapes |= {f"{name}.0.fn.fn.to_out.bias": [C], f"{name}.1.fn.fn.0.weight": [2 * C, C, 1, 1]}
    shapes |= {f"{name}.1.fn.fn.0.bias": [2 * C], f"{name}.1.fn.fn.2.weight": [C, 2 * C, 1, 1]}
    shapes[f"{name}.1.fn.fn.2.bias"] = [C]
    for i in range(2):
        own = ("g",) if form == "1.6" else ("norm.g", "norm.b")
        shapes |= {f"{name}.{i}.fn.{part}": [1, C, 1, 1] for part in own}
    source = torch.Generator().manual_seed(block)
    return {name: torch.randn(shape, generator=source) * 0.3 for name, shape in shapes.items()}


def attended(t, name, x, form):
    """Attention as its equations say, head by head, and the network of single pixels after it."""

    def scaled(i, f):
        gain = t[f"{name}.{i}.fn.g" if form == "1.6" else f"{name}.{i}.fn.norm.g"]
        if form == "1.6":
            return x + gain * f(x)
        mean = x.mean(dim=1, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=1, keepdim=True)
        deviation = variance.sqrt() + 1e-5 if form == "1.8" else (variance + 1e-5).sqrt()
        return x + f((x - mean) / deviation * gain + t[f"{name}.{i}.fn.norm.b"])

    def attention(y):
        part = f"{name}.0.fn.fn"
        q = F.conv2d(y, t[f"{part}.to_q.weight"])
        around = F.conv2d(y, t[f"{part}.to_kv.net.0.weight"], padding=1, groups=y.shape[1])
        k, v = F.conv2d(around, t[f"{part}.to_kv.net.1.weight"]).split(512, dim=1)
        out = torch.empty_like(q)
        for n in range(len(y)):
            for head in range(8):
                own = slice(64 * head, 64 * head + 64)
                qs, ks, vs = (part[n, own].flatten(1) for part in (q, k, v))  # [64, pixels]
                ks = ks.exp() / ks.exp().sum(dim=1, keepdim=True)
                qs = qs.exp() / qs.exp().sum(dim=0) / 8
                out[n, own] = torch.einsum("dp, dx, ex -> ep", qs, ks, vs).reshape(out[n, own].shape)
        out = 0.5 * out * (1 + torch.erf(out / 2**0.5))
        return F.conv2d(out, t[f"{part}.to_out.weight"], t[f"{part}.to_out.bias"])

    def pixelwise(y):
        part = f"{name}.1.fn.fn"
        y = F.leaky_relu(F.conv2d(y, t[f"{part}.0.weight"], t[f"{part}.0.bias"]), 0.2)
        return F.conv2d(y, t[f"{part}.2.weight"], t[f"{part}.2.bias"])

    x = scaled(0, attention)
    return scaled(1, pixelwise)


@pytest.mark.parametrize(
    "form, version", [("1.6", "1.7.0"), ("1.8", "1.8.7"), ("1.8.8", "1.8.8"), ("1.8.8", "1.9.0"), ("1.8.8", [[1], 2])]
)
def test_attention(tmp_path, form, version):
    tensors = state() | attention(0, form) | attention(2, form)
    file = read_network(network(tmp_path, tensors, version=version))
    G = file.part("G_ema")
    assert (G.config.attention, G.config.attention_form) == ((0, 2), form)
    z = torch.randn(2, D)
    wanted = reference(
        tensors, z, torch.full([2, SIZE, SIZE, 1], 0.5), lambda name, x: attended(tensors, name, x, form)
    )
    plain = reference(state(), z, torch.full([2, SIZE, SIZE, 1], 0.5))
    assert (wanted - plain).abs().max() > 0.1
    torch.testing.assert_close(G(z, noise_mode="none"), 2 * wanted - 1, rtol=1e-5, atol=1e-4)
    save_network(tmp_path / "a.safetensors", "lucidrains", {"G_ema": G}, {})
    assert torch.equal(load_network(tmp_path / "a.safetensors")(z, noise_mode="none"), G(z, noise_mode="none"))


def test_where_the_epsilon_is():
    """Between features that hardly differ, the versions differ."""
    x = torch.randn(1, 4, 3, 3) * 1e-5
    mean, deviation = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True, correction=0)
    old, new = (Scaling(4, form)(x, lambda y: y) - x for form in ("1.8", "1.8.8"))
    torch.testing.assert_close(old, (x - mean) / (deviation + 1e-5))
    torch.testing.assert_close(new, (x - mean) / (deviation.square() + 1e-5).sqrt())


def test_first_features_of_w(tmp_path):
    tensors = state()
    del tensors["GE.initial_block"]
    tensors["GE.to_initial_block.weight"] = torch.randn(D, WIDTHS[0], 4, 4, generator=torch.Generator().manual_seed(3))
    G, z = load_network(network(tmp_path, tensors)), torch.randn(2, D)
    wanted = reference(tensors, z, torch.full([2, SIZE, SIZE, 1], 0.5))
    torch.testing.assert_close(G(z, noise_mode="none"), 2 * wanted - 1, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("blocks", [[3], [-1], [1, 1]])
def test_attention_where_there_is_no_block(blocks):
    with pytest.raises(ValidationError, match="attention must name blocks from 0 to 2, each once"):
        LucidrainsConfig(doublings=2, attention=blocks)


def test_attention_of_other_versions_is_refused(tmp_path):
    path = network(tmp_path, state() | attention(1, "1.6") | {"GE.attns.1.0.fn.g": torch.ones(1)})
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: its GE.attns.1.0.fn.g has shape [1], expected [32]"
