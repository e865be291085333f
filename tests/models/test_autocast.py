"""A host program's autocast does not reach into the networks: precision is their own business."""

import pytest
import torch
from torch import Tensor

from models.stylegan2.foreign.lucidrains import LucidrainsGenerator
from models.stylegan2.foreign.lucidrainsconfig import LucidrainsConfig
from models.stylegan2.generator import StyledGenerator
from tests.networks import tiny_discriminator, tiny_generator


def lucidrains() -> LucidrainsGenerator:
    torch.manual_seed(0)
    return LucidrainsGenerator(LucidrainsConfig(doublings=2, capacity=4, channel_max=16, mapping_layers=2, w_dim=8))


def of_generator(G, autocast: bool, inside: bool) -> list[Tensor]:
    """The images, and the gradients of z and of every parameter."""
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    c = torch.eye(2)[[0, 1, 0]] if G.config.classes else None
    return outputs_and_gradients(lambda: G(z, c, noise_mode="const"), [z, *G.parameters()], autocast, inside)


def of_discriminator(D, autocast: bool, inside: bool) -> list[Tensor]:
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    c = torch.eye(2)[[0, 1, 0]] if D.config.classes else None
    return outputs_and_gradients(lambda: D(images, c), [images, *D.parameters()], autocast, inside)


def outputs_and_gradients(call, inputs, autocast: bool, inside: bool) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = call()
        if inside:
            return [out, *torch.autograd.grad(out.square().sum(), inputs, allow_unused=True)]
    return [out, *torch.autograd.grad(out.square().sum(), inputs, allow_unused=True)]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("make", [lambda: tiny_generator(), lambda: tiny_generator(classes=2), lucidrains])
def test_generators(make, inside):
    G = make().requires_grad_(True)
    wanted, found = (of_generator(G, autocast, inside) for autocast in (False, True))
    assert wanted[0].dtype == found[0].dtype == torch.float32
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("classes", [0, 2])
def test_discriminators(classes, inside):
    D = tiny_discriminator(classes=classes).requires_grad_(True)
    wanted, found = (of_discriminator(D, autocast, inside) for autocast in (False, True))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


@pytest.mark.parametrize("make", [tiny_generator, lucidrains])
def test_the_parts_of_a_generator_called_by_themselves(make):
    G: StyledGenerator = make()
    z = torch.randn(2, 8)
    ws = G.ws(z)
    plain = G.mapping(z), G.synthesis(ws, "const")
    with torch.autocast("cpu", torch.bfloat16):
        found = G.mapping(z), G.synthesis(ws, "const")
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
