"""Sizes, initial values and behavior of the networks, against the published numbers."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig, block_dtypes
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from models.summary import parameter_count, summary

SMALL = {"channel_base": 128, "channel_max": 32, "mapping_layers": 2}


def generator(**more) -> Generator:
    torch.manual_seed(0)
    return Generator(GeneratorConfig(**{"height": 16, "width": 16, "z_dim": 8, "w_dim": 8, **SMALL, **more}))


def discriminator(**more) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(**{"height": 16, "width": 16, **SMALL, **more}))


@pytest.mark.parametrize(
    "size, base, layers, plain, g_count, d_count",
    [
        (1024, 32768, 8, False, 30_370_060, 29_012_513),
        (512, 32768, 8, False, 30_276_583, 28_982_849),
        (256, 16384, 8, False, 24_767_458, 24_001_089),
        (256, 32768, 8, False, 30_034_338, 28_864_129),
        (32, 32768, 2, True, 19_947_539, 20_720_641),
    ],
)
def test_parameter_counts(size, base, layers, plain, g_count, d_count):
    shared = {"height": size, "width": size, "channel_base": base, "mapping_layers": layers}
    with torch.device("meta"):
        G = Generator(GeneratorConfig(**shared))
        D = Discriminator(DiscriminatorConfig(**shared, architecture="plain" if plain else "residual"))
    assert parameter_count(G) == g_count
    assert parameter_count(D) == d_count


def test_widths_and_number_of_w():
    c = GeneratorConfig(height=1024, width=1024)
    assert [c.channels_at(k) for k in range(9)] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert [GeneratorConfig(height=r, width=r).num_ws for r in (1024, 512, 256, 32)] == [18, 16, 14, 8]
    wide = GeneratorConfig(height=384, width=512)
    assert (wide.base, wide.doublings) == ((3, 4), 7)


def test_initial_values():
    G, D = generator(), discriminator()
    for name, p in (*G.named_parameters(), *D.named_parameters()):
        if name.endswith("affine.bias"):
            assert (p == 1).all(), name
        elif name.endswith(("bias", "noise.strength")):
            assert (p == 0).all(), name
        elif p.numel() > 500:
            scale = 100 if "mapping.layers" in name else 1  # of a layer with learning-rate multiplier 0.01
            assert p.std().item() == pytest.approx(scale, rel=0.15) and abs(p.mean().item()) < 0.15 * scale, name
    assert (G.mapping.w_average == 0).all()


def test_activations_keep_their_size():
    """With initial weights, features and scores of a standard input neither explode nor vanish."""
    G, D = generator(channel_base=512, w_dim=64, z_dim=64), discriminator(channel_base=512)
    images = G(torch.randn(64, 64), noise_mode="none")
    assert 0.3 < images.std() < 3
    assert 0.1 < D(torch.randn(64, 3, 16, 16)).square().mean().sqrt() < 3


@pytest.mark.parametrize(
    "height, width, channels, classes", [(16, 16, 1, 0), (12, 24, 3, 2), (96, 96, 4, 0), (24, 40, 3, 0)]
)
def test_sizes_channels_and_classes(height, width, channels, classes):
    shared = {"height": height, "width": width, "channels": channels, "classes": classes}
    G, D = generator(**shared), discriminator(**shared)
    c = torch.eye(classes)[:2] if classes else None
    images = G(torch.randn(2, 8), c)
    assert images.shape == (2, channels, height, width) and images.dtype == torch.float32
    assert D(images, c).shape == (2, 1)


def test_the_class_matters():
    G, D = generator(classes=3), discriminator(classes=3)
    z, image = torch.randn(1, 8), torch.randn(1, 3, 16, 16)
    c = torch.eye(3)
    assert not torch.equal(G(z, c[:1], noise_mode="none"), G(z, c[1:2], noise_mode="none"))
    assert D(image, c[:1]) != D(image, c[1:2])


def test_each_w_drives_its_own_layers():
    """Changing the last w moves the image only through the last RGB layer; changing the first moves it at all."""
    G = generator()
    ws = G.ws(torch.randn(1, 8))
    base = G.synthesis(ws, "none")
    for layer in range(G.synthesis.num_ws):
        changed = ws.clone()
        changed[:, layer] += 1
        assert not torch.allclose(G.synthesis(changed, "none"), base, atol=1e-6), layer


def test_noise_modes():
    G = generator()
    for name, p in G.named_parameters():
        if name.endswith("noise.strength"):
            p.data.fill_(0.3)
    z = torch.randn(1, 8)
    const = G(z, noise_mode="const")
    assert torch.equal(const, G(z, noise_mode="const"))
    seeds = [torch.Generator().manual_seed(s) for s in (1, 1, 2)]
    a, b, c = (G(z, noise_mode="random", generator=g) for g in seeds)
    assert torch.equal(a, b) and not torch.equal(a, c) and not torch.equal(a, const)
    with pytest.raises(ValueError, match=r"^noise mode is 'some', expected random, const, none$"):
        G(z, noise_mode="some")


def test_a_samples_score_is_its_own_but_for_the_group():
    """Without minibatch statistics the order of a batch changes no score."""
    D = discriminator(mbstd_group=1)
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(D(images).flip(0), D(images.flip(0)))


def test_where_low_precision_is_used():
    low, full = torch.float16, torch.float32
    assert block_dtypes(8, "fp16") == [full] * 5 + [low] * 4  # 1024: from 128 up
    assert block_dtypes(2, "fp16") == [full, low, low]  # 16: from 8 up
    assert block_dtypes(3, "bf16") == [torch.bfloat16] * 4
    assert block_dtypes(3, "tf32") == [full] * 4
    D = discriminator().set_precision("fp16")
    assert [block.dtype for block in D.blocks] == [low, low]
    D = discriminator().set_precision("bf16")
    assert [block.dtype for block in D.blocks] == [torch.bfloat16, full]


def r1_gradients(D: Discriminator, images: torch.Tensor) -> list[torch.Tensor]:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
    weights = [p for name, p in D.named_parameters() if name.endswith("weight") and name != "tail.out.weight"]
    return list(torch.autograd.grad(gradient.square().sum(), weights))


@pytest.mark.parametrize("seed", range(2))
def test_bfloat16_leaves_the_statistics_of_similar_images_alone(seed):
    """What D's features have in common, here an offset of 8, rounds away in which they differ, and R1 looks at that.

    The gradients of R1 in bfloat16 against those in float32: less than half as far away as with the smallest block
    in bfloat16, and within 3 %.
    """
    D = discriminator(height=32, width=32, channel_base=512, channel_max=64)
    torch.manual_seed(seed)
    for parameter in D.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_()
    D.blocks[-1].conv1.bias.data += 8
    images = F.avg_pool2d(torch.rand(8, 3, 32, 32) * 2 - 1, 5, 1, 2) * 3
    exact = torch.cat([g.flatten() for g in r1_gradients(D, images)])
    found = []
    for smallest in (torch.float32, torch.bfloat16):
        D.set_precision("bf16").blocks[-1].dtype = smallest
        rounded = torch.cat([g.flatten() for g in r1_gradients(D, images)])
        found.append(float((rounded - exact).norm() / exact.norm()))
    assert found[0] < 0.03 and found[0] < found[1] / 2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: generator()(torch.randn(2, 7)), r"z must be \[N, 8\], but is \(2, 7\)"),
        (
            lambda: generator(classes=2)(torch.randn(2, 8)),
            r"this network has classes: c must be one-hot \[N, 2\], but is None",
        ),
        (lambda: generator().synthesis(torch.randn(2, 3, 8)), r"ws must be \[N, 6, 8\], but is \(2, 3, 8\)"),
        (lambda: discriminator()(torch.randn(2, 3, 8, 8)), r"images must be \[N, 3, 16, 16\], but are \(2, 3, 8, 8\)"),
        (lambda: GeneratorConfig(height=7, width=7), "StyleGAN2 cannot have the size 7x7"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_summary_adds_up():
    """A line for every part, with its own parameters and output; the parts of the first level are all there is."""
    G = generator()
    title, *rows = summary("Generator", G, [torch.zeros(1, 8)], depth=1).splitlines()
    assert title.split() == ["Generator", "parameters", "output"]
    cells = [row.split() for row in rows]
    assert cells == [
        ["mapping", f"{parameter_count(G.mapping):,}", "1x8"],
        ["synthesis", f"{parameter_count(G.synthesis):,}", "1x3x16x16"],
        ["total", f"{parameter_count(G):,}", "1x3x16x16"],
    ]
    assert parameter_count(G.mapping) + parameter_count(G.synthesis) == parameter_count(G)
    deep = summary("Generator", G, [torch.zeros(1, 8)], depth=3)
    row = next(line.split() for line in deep.splitlines() if line.split()[0] == "synthesis.blocks.1")
    assert row == ["synthesis.blocks.1", f"{parameter_count(G.synthesis.blocks[1]):,}", "1x16x8x8", "and", "1x3x8x8"]


def loud(network):
    """Features far beyond the limit of float16 in every layer."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and "affine" not in name and "mapping" not in name:
            parameter.data.fill_(1000.0)
    return network.requires_grad_(False).eval()


def test_float16_and_back_gives_the_same_pictures():
    """The limit belongs to the number format: it goes with it, and a limit of the configuration stays."""
    z, images = torch.randn(2, 8), torch.randn(4, 3, 16, 16)
    for clamp in (0.0, 300.0):
        G, D = loud(generator(clamp=clamp)), loud(discriminator(clamp=clamp))
        before = G(z, noise_mode="none"), D(images)
        limits = {module.low_clamp for module in G.set_precision("fp16").modules() if hasattr(module, "low_clamp")}
        assert limits == {256.0}
        D.set_precision("fp16")
        for precision in ("bf16", "fp32"):
            after = G.set_precision(precision)(z, noise_mode="none"), D.set_precision(precision)(images)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_float16_limits_every_layer():
    """Also those that compute in float32, as the official networks do: nothing exceeds 256 in any block."""
    found = {}
    G = loud(generator())
    for precision in ("fp32", "fp16"):
        G.set_precision(precision)
        first = G.synthesis.blocks[0]
        assert first.dtype == torch.float32
        found[precision] = first(G.synthesis.const.expand(1, -1, -1, -1), None, torch.randn(1, 2, 8), None)[0].max()
    assert found["fp32"] > 1000 and found["fp16"] == 256


def test_the_filter_is_no_part_of_files_and_always_right():
    """Wherever a network was built and however it was filled, its low-pass filters are the binomial one."""
    state, wanted = generator().state_dict(), blur()
    assert not any("taps" in key or "low_pass" in key for key in state)
    with torch.device("meta"):
        empty = [generator() for _ in range(2)]
    empty[0].load_state_dict(state, assign=True)
    empty[1].to_empty(device="cpu")
    for _, taps in empty[1].named_buffers():
        taps.fill_(7)
    empty[1].load_state_dict(state)
    for G in (*empty, copy.deepcopy(empty[0]), generator().half().float(), pickle.loads(pickle.dumps(empty[0]))):
        filters = [taps for name, taps in G.named_buffers() if name.endswith("low_pass.taps")]
        assert len(filters) == 2 + 3 and all(torch.equal(taps, wanted) for taps in filters)
    images = [G.requires_grad_(False)(torch.ones(1, 8), noise_mode="const") for G in (generator(), *empty)]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
