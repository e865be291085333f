"""Two generators blended into one: which layer is whose, and what becomes of the pictures."""

import pytest
import torch

from models.stylegan2.blending import (
    Shares,
    blend,
    check,
    first_layer,
    layer_of,
    likeness,
    ramp,
    resolutions,
)
from models.stylegan2.config import GeneratorConfig
from tests.networks import SIZES, tiny_generator

LAYERS = 5  # of the tiny networks: 4, 8, 8, 16, 16


def config(**settings):
    return GeneratorConfig(**SIZES | {"z_dim": 8, "w_dim": 8} | settings)


def child(amount=0.3, seed=1, **settings):
    """A tiny generator whose every tensor has moved away from that of `tiny_generator`."""
    G = tiny_generator(**settings)
    draw = torch.Generator().manual_seed(seed)
    for tensor in G.state_dict().values():
        tensor.add_(torch.randn(tensor.shape, generator=draw) * amount)
    return G


def same(a, b):
    return torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


def test_resolutions_are_those_of_the_longer_side():
    assert resolutions(config(height=32, width=32)) == [4, 8, 16, 32]
    assert resolutions(config(height=48, width=64)) == [4, 8, 16, 32, 64]
    assert [first_layer(config(height=48, width=64), side) for side in (4, 8, 16, 64)] == [0, 1, 3, 7]
    with pytest.raises(ValueError) as error:
        first_layer(config(), 12)
    assert str(error.value) == "12 is none of the network's resolutions, 4, 8, 16"


@pytest.mark.parametrize(
    ("first", "width", "shares"),
    [
        (3, 0.0, [0, 0, 0, 1, 1, 1, 1]),
        (0, 0.0, [1, 1, 1, 1, 1, 1, 1]),
        (3, 0.5, [0, 0, 0, 1, 1, 1, 1]),  # as long as one layer: those on both sides are its ends
        (3, 1.0, [0, 0, 1 / 4, 3 / 4, 1, 1, 1]),
        (3, 2.0, [0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]),
        (3, 3.0, [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12, 1]),
        (6, 1.0, [0, 0, 0, 0, 0, 1 / 4, 3 / 4]),  # cut off by the last layer
    ],
)
def test_the_ramp_is_that_of_the_equation(first, width, shares):
    assert ramp(7, first, width) == pytest.approx(shares, abs=1e-15)


def test_every_tensor_has_a_layer_and_the_mapping_has_none():
    found = {}
    for key in tiny_generator(classes=3).state_dict():
        found.setdefault(layer_of(key), set()).add(key.rpartition(".")[0] if "blocks" in key else key)
    assert set(found) == {None, *range(LAYERS)}
    assert all(key.startswith("mapping.") for key in found[None])
    block = "synthesis.blocks.{}.{}"
    for layer, (k, conv) in enumerate([(0, "conv1"), (1, "conv0"), (1, "conv1"), (2, "conv0"), (2, "conv1")]):
        parts = {name[:-1] for name in (block.format(k, conv) + e for e in ("|", ".affine|", ".conv|", ".noise|"))}
        if conv == "conv1":
            parts |= {block.format(k, "rgb") + end for end in ("", ".affine", ".conv")}
        assert found[layer] == parts | ({"synthesis.const"} if layer == 0 else set())


@pytest.mark.parametrize(("share", "parent"), [(0.0, 0), (1.0, 1)])
def test_all_of_one_is_that_one_bit_for_bit(share, parent):
    parents = tiny_generator(classes=2), child(classes=2)
    for G in parents:
        G.state_dict()["synthesis.blocks.1.conv0.bias"].fill_(-0.0)  # which arithmetic would turn into 0
    state = blend(*parents, Shares([share] * LAYERS, share)).state_dict()
    expected = parents[parent].state_dict()
    assert state.keys() == expected.keys()
    assert all(same(state[key], expected[key]) for key in state)


def test_a_swap_gives_the_features_of_the_first_to_the_blocks_of_the_second():
    a, b = tiny_generator(), child()
    G = blend(a, b, Shares(ramp(LAYERS, first_layer(a.config, 16)), 0.0))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    ws = a.ws(z)
    x, image = a.synthesis.const.expand(3, -1, -1, -1), None
    for parent, k in ((a, 0), (a, 1), (b, 2)):
        noises = [layer.noise(3, "const", None) for layer in parent.synthesis.blocks[k].layers]
        x, image = parent.synthesis.blocks[k](x, image, ws[:, max(2 * k - 1, 0) : 2 * k + 2], *noises)
    assert torch.equal(G(z, noise_mode="const"), image)


def test_between_the_two_every_tensor_is_the_weighted_mean_but_noise():
    a, b = tiny_generator(), child()
    shares = Shares([0.1, 0.25, 0.5, 0.75, 1.0], 0.5)
    state = blend(a, b, shares).state_dict()
    for key, tensor in state.items():
        x, y = a.state_dict()[key].double(), b.state_dict()[key].double()
        t = shares.mapping if layer_of(key) is None else shares.layers[layer_of(key)]
        t = {0.75: 1.0, 1.0: 1.0}.get(t, 0.0) if key.endswith("noise.fixed") else t
        torch.testing.assert_close(tensor.double(), (1 - t) * x + t * y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("mapping", "classes"), [(0.0, 0), (1.0, 3)])
def test_a_mapping_network_that_is_taken_whole_brings_its_classes(mapping, classes):
    a, b = tiny_generator(), child(classes=3, mapping_layers=2, z_dim=4)
    check(a.config, b.config, mixed_mapping=False)
    G = blend(a, b, Shares([0.5] * LAYERS, mapping))
    assert G.config == (b if mapping else a).config and G.config.classes == classes
    for key, tensor in (b if mapping else a).mapping.state_dict().items():
        assert same(G.mapping.state_dict()[key], tensor)


@pytest.mark.parametrize(("a", "b", "limit"), [(0, 0, 0), (256, 0, 0), (0, 256, 0), (128, 256, 256)])
def test_the_looser_limit_holds(a, b, limit):
    G = blend(tiny_generator(clamp=a), child(clamp=b), Shares([0.5] * LAYERS, 0.5))
    assert G.config.clamp == limit


def test_shares_for_another_number_of_layers():
    with pytest.raises(ValueError) as error:
        blend(tiny_generator(), child(), Shares([0.5] * 4, 0.5))
    assert str(error.value) == "the networks have 5 layers, but there are 4 shares"


def test_likeness_is_the_cosine_of_the_weights():
    a = tiny_generator()
    assert likeness(a, a) == pytest.approx(1.0)
    opposite = tiny_generator()
    for parameter in opposite.parameters():
        parameter.mul_(-2)
    assert likeness(a, opposite) == pytest.approx(-1.0)
    # Weights a plus independent ones of t times their size have a cosine of 1 / sqrt(1 + t^2) with a.
    assert likeness(a, child(amount=1.0)) == pytest.approx(1 / 2**0.5, abs=0.03)
    stranger = tiny_generator()
    for tensor in stranger.state_dict().values():
        tensor.normal_(generator=torch.Generator().manual_seed(7))
    assert abs(likeness(a, stranger)) < 0.05
    silent = tiny_generator()
    for parameter in silent.parameters():
        parameter.zero_()
    assert likeness(a, silent) == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"width": 32}, "the size of their images, 16x16 and 32x16"),
        ({"height": 32, "width": 32}, "the size of their images, 16x16 and 32x32"),
        ({"channels": 1}, "generator.channels, 3 and 1"),
        ({"w_dim": 4}, "generator.w_dim, 8 and 4"),
        ({"channel_max": 8}, "feature maps at 4, 16 and 8"),
        ({"channel_base": 128}, "feature maps at 16, 16 and 8"),
    ],
)
def test_networks_of_other_shapes_are_refused(settings, told):
    with pytest.raises(ValueError) as error:
        check(config(), config(**settings), mixed_mapping=False)
    assert str(error.value).startswith(f"networks that differ in {told}, cannot be blended: ")


@pytest.mark.parametrize(("name", "value"), [("classes", 2), ("z_dim", 4), ("mapping_layers", 3)])
def test_mapping_networks_of_other_shapes_cannot_be_mixed(name, value):
    a, b = config(), config(**{name: value})
    check(a, b, mixed_mapping=False)
    with pytest.raises(ValueError) as error:
        check(a, b, mixed_mapping=True)
    told = f"mapping networks that differ in generator.{name}, {getattr(a, name)} and {value}, cannot be blended"
    assert str(error.value).startswith(f"{told}, so take that of A or B whole")


def test_widths_are_compared_where_they_matter():
    check(config(channel_base=256, channel_max=16), config(channel_base=512, channel_max=16), mixed_mapping=True)
