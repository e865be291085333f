"""Every way that a condition steers features, against its equation written out in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.conditioning import (
    ConditionalInstanceNorm,
    CrossAttention,
    Kind,
    ModulationHead,
    StyleAdaIN,
    ada_in,
    expected_std,
    modulate,
    modulated_conv,
    normalize,
    statistics,
    with_context,
)
from models.stylegan2.modulation import Conv2DMod

N, C, H, W, T = 3, 8, 5, 7, 11
KINDS: tuple[Kind, ...] = ("batch", "layer", "instance", "group")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(seed: int = 0) -> Tensor:
    return 2 * random(N, C, H, W, seed=seed) + 3


def tokens(seed: int = 0) -> Tensor:
    return 2 * random(N, T, C, seed=seed) + 3


def of_torch(x: Tensor, kind: Kind, groups: int) -> Tensor:
    """The norm of torch.nn.functional, with channels second."""
    if kind == "batch":
        return F.batch_norm(x, None, None, training=True)
    if kind == "layer":
        return F.layer_norm(x, x.shape[1:])
    return F.instance_norm(x) if kind == "instance" else F.group_norm(x, groups)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_normalized_as_torch_does(kind: Kind) -> None:
    x, groups = pictures(), 4
    mean, std = statistics(x, kind, groups)
    for found in (normalize(x, kind, groups), (x - mean) / std):
        torch.testing.assert_close(found, of_torch(x, kind, groups), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_normalized_as_torch_does(kind: Kind) -> None:
    x, groups = tokens(), 4
    turned = x.transpose(1, 2)
    expected = F.layer_norm(x, (C,)) if kind == "layer" else of_torch(turned, kind, groups).transpose(1, 2)
    torch.testing.assert_close(normalize(x, kind, groups), expected, rtol=0, atol=1e-13)


def test_group_norm_of_one_group_is_layer_norm_and_of_every_channel_instance_norm() -> None:
    x = pictures()
    same: list[tuple[int, Kind]] = [(1, "layer"), (C, "instance")]
    for groups, kind in same:
        mean, std = statistics(x, kind)
        torch.testing.assert_close(normalize(x, "group", groups), (x - mean) / std, rtol=0, atol=1e-13)
        found = statistics(x, "group", groups)
        torch.testing.assert_close((x - found.mean) / found.std, normalize(x, kind), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="3 groups do not divide 8 channels"):
        normalize(x, "group", 3)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_positions_do_not_count(kind: Kind) -> None:
    x = pictures()
    mask = torch.zeros(N, 1, H, W, dtype=torch.float64)
    mask[..., :4] = 1
    found = statistics(x, kind, 4, mask)
    kept = statistics(x[..., :4], kind, 4)
    torch.testing.assert_close(found.mean, kept.mean, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.std, kept.std, rtol=0, atol=1e-13)
    whole = statistics(x, kind, 4, torch.ones_like(mask))
    torch.testing.assert_close(whole.std, statistics(x, kind, 4).std, rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [pictures, tokens])
def test_weights_of_a_mask_count_as_repetitions(make) -> None:
    x = make()
    flat = x if x.ndim == 3 else x.flatten(2).transpose(1, 2)
    times = torch.randint(0, 4, (flat.shape[1],), generator=torch.Generator().manual_seed(1))
    mask = (times.double() / 3).reshape(1, -1, 1) if x.ndim == 3 else (times.double() / 3).reshape(1, 1, H, W)
    found, repeated = statistics(x, "instance", mask=mask), flat.repeat_interleave(times, 1)
    torch.testing.assert_close(found.mean.flatten(), repeated.mean(1).flatten(), rtol=0, atol=1e-12)
    expected = (repeated.var(1, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(found.std.flatten(), expected.flatten(), rtol=0, atol=1e-12)


def test_the_unbiased_deviation_divides_by_one_less() -> None:
    x = pictures()
    expected = (x.var((2, 3), correction=1) + 1e-5).sqrt()
    torch.testing.assert_close(statistics(x, "instance", unbiased=True).std.flatten(), expected.flatten())
    assert statistics(x[..., :1, :1], "instance", unbiased=True).std.isfinite().all()


@pytest.mark.parametrize(("make", "kind", "groups"), [(pictures, "group", 4), (tokens, "layer", 1)])
def test_a_steered_norm_is_its_equation_and_with_a_head_of_zeros_the_norm_of_torch(make, kind: Kind, groups) -> None:
    """AdaGN of pictures, adaLN of tokens, and the gate of adaLN-Zero."""
    head, x, c = ModulationHead(6, C, ("shift", "scale", "gate"), zero=False).double(), make(), random(N, 6, seed=3)
    (by,) = head.steer(c)
    found = modulate(normalize(x, kind, groups), by.shift, by.scale)
    linear = head[1]
    assert isinstance(linear, nn.Linear) and by.gate is not None
    shift, scale, gate = ((c / (1 + (-c).exp())) @ linear.weight.T + linear.bias).chunk(3, 1)
    apart = x.reshape(N, groups, -1) if x.ndim == 4 else x  # what is normalized together comes last
    plain = (apart - apart.mean(2, True)) / (apart.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    each = (slice(None), slice(None), None, None) if x.ndim == 4 else (slice(None), None)
    expected = (1 + scale[each]) * plain.reshape(x.shape) + shift[each]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(by.gate, gate)
    (by,) = ModulationHead(6, C).double().steer(c)
    found = modulate(normalize(x, kind, groups), by.shift, by.scale)
    expected = F.group_norm(x, groups) if x.ndim == 4 else F.layer_norm(x, (C,))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [pictures, tokens])
def test_modulation_is_its_equation_and_a_zero_condition_the_plain_norm(make) -> None:
    x, shift, scale = make(), random(N, C, seed=1), random(N, C, seed=2)
    y = modulate(x, shift, scale)
    last = y if x.ndim == 3 else y.movedim(1, -1)
    first = x if x.ndim == 3 else x.movedim(1, -1)
    for n in range(N):
        torch.testing.assert_close(last[n], (1 + scale[n]) * first[n] + shift[n])
    assert modulate(x, torch.zeros(C).double(), torch.zeros(C).double()).equal(x)


def test_ada_in_gives_the_statistics_of_the_style() -> None:
    content, style = pictures(), 0.5 * random(N, C, 4, 9, seed=5) - 1
    found = ada_in(content, style, eps=0.0)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3), correction=0), style.std((2, 3), correction=0))
    torch.testing.assert_close(ada_in(content, content), content)
    literal = F.instance_norm(content) * (style.var((2, 3), correction=0) + 1e-5).sqrt()[:, :, None, None]
    literal = literal + style.mean((2, 3))[:, :, None, None]
    torch.testing.assert_close(ada_in(content, style), literal, rtol=0, atol=1e-12)


def test_ada_in_of_a_region_has_the_statistics_of_the_region() -> None:
    content, style = pictures(), random(N, C, 6, 6, seed=5)
    left = torch.zeros(1, 1, H, W, dtype=torch.float64)
    left[..., :3] = 1
    top = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    top[:, :, :2] = 1
    found = ada_in(content, style, left, top, eps=0.0)[..., :3]
    torch.testing.assert_close(found.mean((2, 3)), style[:, :, :2].mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3), correction=0), style[:, :, :2].std((2, 3), correction=0))


def test_conditional_instance_norm_takes_rows_and_mixtures_of_rows() -> None:
    layer, x = ConditionalInstanceNorm(C, 4).double(), pictures()
    one_hot = torch.eye(4, dtype=torch.float64)[[2, 0, 2]]
    torch.testing.assert_close(layer(x, one_hot), F.instance_norm(x))
    nn.init.normal_(layer.scale)
    nn.init.normal_(layer.shift)
    row = F.instance_norm(x)[1] * (1 + layer.scale[0])[:, None, None] + layer.shift[0][:, None, None]
    torch.testing.assert_close(layer(x, one_hot)[1], row)
    half = torch.tensor([[0.5, 0, 0.5, 0]], dtype=torch.float64).expand(N, 4)
    both = 0.5 * (layer(x, one_hot[[0, 0, 0]]) + layer(x, one_hot[[1, 1, 1]]))
    torch.testing.assert_close(layer(x, half), both)


def test_style_ada_in_is_its_equation() -> None:
    layer, x, w = StyleAdaIN(6, C).double(), pictures(), random(N, 6, seed=3)
    scale, shift = (w @ layer.affine.weight.T + layer.affine.bias).chunk(2, dim=1)
    expected = (1 + scale)[:, :, None, None] * F.instance_norm(x) + shift[:, :, None, None]
    torch.testing.assert_close(layer(x, w), expected)
    nn.init.zeros_(layer.affine.weight)
    nn.init.zeros_(layer.affine.bias)
    torch.testing.assert_close(layer(x, w), F.instance_norm(x))


def test_demodulation_is_its_equation() -> None:
    """Karras et al. 2020, equations 1 and 3, sample by sample."""
    x, weight, style = pictures(), random(16, C, 3, 3, seed=1), random(N, C, seed=2)
    deviations = expected_std(weight, style)
    for n, found in enumerate(modulated_conv(x, weight, style)):
        scaled = weight * style[n][None, :, None, None]
        std = (scaled.square().sum((1, 2, 3)) + 1e-8).sqrt()
        torch.testing.assert_close(deviations[n], std)
        torch.testing.assert_close(found, F.conv2d(x[n, None], scaled / std[:, None, None, None], padding=1)[0])


def test_a_head_of_zeros_is_the_identity_and_learns() -> None:
    head, x, c = ModulationHead(6, C, ("shift", "scale", "gate"), sets=2).double(), tokens(), random(N, 6, seed=3)
    branch = nn.Linear(C, C).double()
    y = x
    for by in head.steer(c):
        assert by.gate is not None
        y = y + by.gate[:, None] * branch(modulate(normalize(y, "layer"), by.shift, by.scale))
    assert y.equal(x)
    y.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_a_scale_without_one_learns_nothing_from_zeros() -> None:
    """The mistake that the 1 of `modulate` avoids."""
    head, x, c = ModulationHead(6, C, ("shift", "scale", "gate")).double(), tokens(), random(N, 6, seed=3)
    (by,) = head.steer(c)
    assert by.gate is not None
    wrong = x + by.gate[:, None] * (normalize(x, "layer") * by.scale[:, None])
    wrong.square().sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


def test_the_order_of_chunks_is_that_of_the_weights() -> None:
    c = random(N, 6, seed=3)
    for order in (("shift", "scale"), ("scale", "shift"), ("gate", "shift", "scale")):
        head = ModulationHead(6, C, order, zero=False).double()
        (by,) = head.steer(c)
        chunks = dict(zip(order, head(c).chunk(len(order), 1), strict=True))
        assert all(getattr(by, name).equal(value) for name, value in chunks.items())


def test_demodulation_has_unit_variance_and_ignores_the_scale_of_the_style() -> None:
    x = random(64, C, 16, 16)
    weight, style = random(16, C, 3, 3, seed=1), random(1, C, seed=2).abs().expand(64, C) + 0.1
    out = modulated_conv(x, weight, style)
    inner = out[:, :, 1:-1, 1:-1]  # the frame of zeros has less
    torch.testing.assert_close(inner.var((0, 2, 3)), torch.ones(16).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(modulated_conv(x, weight, 7 * style), out)


def test_demodulation_is_that_of_the_style_modulated_layers() -> None:
    layer = Conv2DMod(C, 16, 3).double()
    x, style = random(N, C, 16, 16), random(N, C, seed=2)
    ours = modulated_conv(x, layer.weight * layer.weight_gain, style)
    torch.testing.assert_close(ours, layer(x, style), rtol=0, atol=1e-6)  # its eps is added to other units


def test_cross_attention_is_its_equation_and_heeds_the_mask() -> None:
    layer, x, context = CrossAttention(C, 2, 6).double(), tokens(), random(N, 4, 6, seed=4)
    mask = torch.tensor([[True, True, True, False]]).expand(N, 4)
    q = x @ layer.q.weight.T + layer.q.bias
    k, v = (context @ layer.kv.weight.T + layer.kv.bias).chunk(2, 2)
    heads = []
    for part in (slice(0, C // 2), slice(C // 2, C)):
        scores = q[..., part] @ k[..., part].transpose(1, 2) / (C // 2) ** 0.5
        heads.append(scores.masked_fill(~mask[:, None], -torch.inf).softmax(2) @ v[..., part])
    expected = torch.cat(heads, 2) @ layer.proj.weight.T + layer.proj.bias
    torch.testing.assert_close(layer(x, context, mask), expected)
    other = context.clone()
    other[:, 3] = 100
    torch.testing.assert_close(layer(x, other, mask), expected)


def test_cross_attention_to_one_token_is_the_same_everywhere() -> None:
    layer, x = CrossAttention(C, 2, 6).double(), tokens()
    found = layer(x, random(N, 1, 6, seed=4))
    torch.testing.assert_close(found, found[:, :1].expand_as(found))


def test_context_tokens_follow_the_others() -> None:
    x, first, second = tokens(), random(N, C, seed=1), random(N, C, seed=2)
    found = with_context(x, first, second)
    assert found[:, :T].equal(x) and found[:, T].equal(first) and found[:, T + 1].equal(second)
