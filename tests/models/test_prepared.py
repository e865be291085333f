"""The prepared synthesis of one picture: the bits of the modules, and no stale weights."""

import copy

import pytest
import torch

from models.stylegan2.config import GeneratorConfig
from models.stylegan2.generator import Generator
from models.stylegan2.prepared import PreparedSynthesis

SIZES = {
    "square": {"height": 64, "width": 64},
    "4:3, gray": {"height": 48, "width": 64, "channels": 1},
    "clamped": {"height": 32, "width": 32, "clamp": 0.5},
}


def made(**sizes) -> Generator:
    """A folded generator whose noise has an effect."""
    torch.manual_seed(1)
    G = Generator(GeneratorConfig(channel_base=1024, channel_max=64, z_dim=16, w_dim=16, mapping_layers=2, **sizes))
    for layer in G.synthesis.layers:
        torch.nn.init.normal_(layer.noise.strength)
        torch.nn.init.normal_(layer.bias)
    return G.requires_grad_(False).fold()


def by_modules(G: Generator, *arguments) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedSynthesis, "fits", lambda *_: False)
        return G.synthesis(*arguments)


def ws_of(G: Generator, count: int = 1) -> torch.Tensor:
    return torch.randn(count, G.config.num_ws, G.config.w_dim, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("mode", ["const", "random", "none"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@torch.no_grad()
def test_a_picture_has_the_bits_of_the_modules(sizes, mode):
    G = made(**sizes)
    ws = ws_of(G)
    expected = by_modules(G, ws, mode, torch.Generator().manual_seed(3))
    assert torch.equal(G.synthesis(ws, mode, torch.Generator().manual_seed(3)), expected)
    assert G.synthesis.prepared is not None and torch.equal(
        G.synthesis.prepared(ws, [None] * 99), by_modules(G, ws, "none")
    )


@torch.no_grad()
def test_given_noise_is_taken():
    G = made(height=32, width=32)
    maps = [torch.randn(1, 1, *layer.noise.fixed.shape) for layer in G.synthesis.layers]
    ws = ws_of(G)
    found = G.synthesis.with_noise(ws, maps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedSynthesis, "fits", lambda *_: False)
        assert torch.equal(found, G.synthesis.with_noise(ws, maps))


@torch.no_grad()
def test_other_weights_are_prepared_anew():
    G = made(height=32, width=32)
    ws = ws_of(G)
    first = G.synthesis(ws, "const")
    other = copy.deepcopy(G)
    G.load_state_dict({name: tensor * 1.1 for name, tensor in G.state_dict().items()})
    G.fold()
    assert torch.equal(G.synthesis(ws, "const"), by_modules(G, ws, "const"))
    assert not torch.equal(G.synthesis(ws, "const"), first)
    assert torch.equal(other.synthesis(ws, "const"), first)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("several pictures", lambda G, ws: (G, ws.expand(2, -1, -1))),
        ("not folded", lambda G, ws: (G.train(), ws)),
        ("bfloat16", lambda G, ws: (G.set_precision("bf16").fold(), ws)),
    ],
)
@torch.no_grad()
def test_modules_do_what_is_not_prepared(why, change):
    G, ws = change(made(height=32, width=32), torch.zeros(1, 8, 16))
    assert not PreparedSynthesis.fits(G.synthesis, ws)


def test_gradients_come_from_the_modules():
    G = made(height=32, width=32)
    ws = ws_of(G).requires_grad_()
    assert not PreparedSynthesis.fits(G.synthesis, ws)
    (gradient,) = torch.autograd.grad(G.synthesis(ws, "const").sum(), ws)
    assert gradient.abs().max() > 0
