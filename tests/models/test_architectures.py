"""The architectures of Karras et al. 2020, figure 7, against its equations written out, and what works with them."""

import pytest
import torch

from models.families import load_network, save_network
from models.graphs import record, save_program
from models.stylegan2.adaptation import adapt_discriminator, adapt_generator
from models.stylegan2.blending import Shares, blend, layer_of
from models.stylegan2.blending import check as check_blend
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.finding import style_matrix
from models.stylegan2.foreign import rosinality
from models.stylegan2.foreign.architecture import official_names
from models.stylegan2.foreign.nvidia import ARCHITECTURES as OFFICIAL
from models.stylegan2.generator import Generator
from models.stylegan2.generatorgraph import graph_of
from tests.models.test_adaptation import check
from tests.reference.architectures import generated, judged
from tests.reference.official import fill, load_case, official_tensors
from training.stylegan2.config import resolve

SIZE = 32
ARCHITECTURES = list(OFFICIAL)
SHARED = {"height": SIZE, "width": SIZE, "channel_base": 256, "channel_max": 16, "mapping_layers": 1}


def generator(architecture: str, **more) -> Generator:
    """With tensors filled by their official names."""
    config = GeneratorConfig(**SHARED | {"z_dim": 8, "w_dim": 8, "architecture": architecture} | more)
    return filled(Generator(config), "G")


def discriminator(architecture: str, **more) -> Discriminator:
    config = DiscriminatorConfig(**SHARED | {"architecture": architecture} | more)
    return filled(Discriminator(config), "D")


def filled(network, letter):
    state, names = network.state_dict(), official_names(network)
    assert set(names.values()) == set(state), "every tensor has an official name"
    network.load_state_dict(
        {ours: torch.as_tensor(fill(f"{letter}.{n}", tuple(state[ours].shape))) for n, ours in names.items()}
    )
    return network.requires_grad_(False).eval()


def tensors(network, names):
    return {theirs: network.state_dict()[ours] for theirs, ours in names.items()}


def ws(G, count=3):
    return torch.randn(count, G.config.num_ws, 8, generator=torch.Generator().manual_seed(0))


def pictures(channels=3, count=4):
    return torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def close(ours, wanted, tolerance=3e-6):
    assert ours.shape == wanted.shape and wanted.std() > 1e-3
    torch.testing.assert_close(ours.double(), wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def test_the_written_out_equations_give_the_recorded_numbers_of_the_official_networks():
    case = load_case("rgb16")
    w = case.tensor("w")
    w = w if w.ndim == 3 else w[:, None].expand(-1, case.G.config.num_ws, -1)
    close(generated(official_tensors("rgb16", "G"), w, "skip", 16), case.tensor("images/psi1.0/noise_const").double())
    scores = judged(official_tensors("rgb16", "D"), case.tensor("reals"), "resnet", case.D.config.mbstd_group)
    close(scores, case.tensor("logits/reals").double())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("folded", [False, True])
def test_generators(architecture, folded):
    G = generator(architecture)
    wanted = generated(tensors(G, official_names(G)), ws(G), OFFICIAL[architecture], SIZE)
    G = G.fold() if folded else G
    close(G.synthesis(ws(G), "const"), wanted)
    close(G.synthesis(ws(G)[:1], "const"), wanted[:1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_discriminators(architecture):
    D = discriminator(architecture)
    wanted = judged(tensors(D, official_names(D)), pictures(), OFFICIAL[architecture], 4)
    close(D(pictures()), wanted)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_of_recomputed_blocks_are_the_same(architecture):
    found = []
    for recompute in (False, True):
        G, D = generator(architecture).requires_grad_(), discriminator(architecture).requires_grad_()
        G.synthesis.recompute = D.recompute = recompute
        D(G.synthesis(ws(G), "const")).sum().backward()
        found.append([p.grad for network in (G.synthesis, D) for p in network.parameters()])
    for a, b in zip(*found, strict=True):
        assert a is not None and torch.equal(a, b)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_second_derivatives(architecture):
    """As of the regularization of path lengths and of R1."""
    G, D = generator(architecture).requires_grad_(), discriminator(architecture).requires_grad_()
    w, images = ws(G).requires_grad_(), pictures().requires_grad_()
    (slope,) = torch.autograd.grad(G.synthesis(w, "const").sum(), w, create_graph=True)
    slope.square().sum().backward()
    (steepness,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
    steepness.square().sum().backward()
    changed = [p for name, p in (*G.synthesis.named_parameters(), *D.named_parameters()) if name.endswith("weight")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in changed)


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_blends(architecture):
    a, b = generator(architecture), generator(architecture)
    for parameter in b.parameters():
        parameter.data.neg_()
    G = blend(a, b, Shares([0.0] * 3 + [1.0] * 4, 0.0))
    for name, tensor in G.state_dict().items():
        mine = name.startswith(("mapping", "synthesis.const", "synthesis.blocks.0", "synthesis.blocks.1"))
        assert torch.equal(tensor, (a if mine else b).state_dict()[name]), name
    with pytest.raises(ValueError, match=r"differ in generator\.architecture"):
        check_blend(a.config, generator("skip").config, False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precisions(architecture, precision):
    G, D = generator(architecture), discriminator(architecture)
    image, score = G.synthesis(ws(G), "const"), D(pictures())
    low = G.set_precision(precision).synthesis(ws(G), "const")
    assert low.dtype == torch.float32 and (low - image).abs().max() < 0.1 * image.abs().max()
    assert (D.set_precision(precision)(pictures()) - score).abs().max() < 0.1 * score.abs().max() + 0.1


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_what_works_with_a_generator(tmp_path, architecture):
    G = generator(architecture)
    save_network(tmp_path / "a.safetensors", "stylegan2", {"G_ema": G}, {})
    assert torch.equal(load_network(tmp_path / "a.safetensors").synthesis(ws(G), "const"), G.synthesis(ws(G), "const"))
    assert style_matrix(G, range(G.config.num_ws)).shape[1] == 8
    assert [layer_of(f"synthesis.blocks.2.{name}.weight") for name in ("skip", "rgb.conv")] == [3, 4]
    with pytest.raises(ValueError, match=f": its architecture is {architecture}, expected skip$"):
        rosinality.to_rosinality({"G_ema": generator(architecture, channel_base=32768, channel_max=512)})


def test_a_graph(tmp_path):
    graph = graph_of(generator("residual", height=8, width=8), "synthesis", "const", None, {})
    assert save_program(tmp_path / "a.pt2", graph, record(graph)) < 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_adaptation_to_other_channels(architecture):
    a, b = generator(architecture), generator(architecture, channels=1)
    b.load_state_dict(adapt_generator(a, b)[0])
    torch.testing.assert_close(
        b.synthesis(ws(a), "const"), a.synthesis(ws(a), "const").mean(dim=1, keepdim=True), rtol=0, atol=1e-5
    )
    d, e = discriminator(architecture, channels=1), discriminator(architecture)
    e.load_state_dict(adapt_discriminator(d, e)[0])
    gray = pictures(1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(e(gray), d(pictures(1)), rtol=0, atol=1e-4)


def test_other_sizes_of_architectures_that_cannot_grow_are_refused():
    small, large = (generator("residual", height=size, width=size).config for size in (16, 32))
    check("generator", large, large)
    with pytest.raises(ValueError) as error:
        check("generator", small, large)
    assert str(error.value) == (
        "a generator of the residual architecture cannot change its size from 16x16 to 32x32: take images of 16x16"
    )
    small, large = (discriminator("skip", height=size, width=size).config for size in (16, 32))
    with pytest.raises(ValueError, match=r"^a discriminator of the skip architecture cannot change its size"):
        check("discriminator", small, large)
    with pytest.raises(ValueError, match=r"^its generator\.architecture is plain, but this run has skip: use --set"):
        check("generator", generator("plain").config, generator("skip").config)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_that_can_be_frozen_are_counted(architecture):
    count = len(discriminator(architecture).layers)
    data = {"height": SIZE, "width": SIZE, "channels": 3, "classes": 0}
    given = {"discriminator.architecture": architecture}
    assert resolve("auto", data, given | {"optimizer.freeze_d": count}, 1, None)
    with pytest.raises(ValueError, match=f"--freeze-d {count + 1} is more than the {count} layers of D"):
        resolve("auto", data, given | {"optimizer.freeze_d": count + 1}, 1, None)
