"""A trained network's weights in a network of other classes, channels or size: what is kept, as functions."""

import pytest
import torch

from custom_ops import setup_filter, upsample2d
from models.stylegan2.adaptation import adapt_discriminator, adapt_generator, differing, misfits
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator

SIZES = {"height": 16, "width": 16, "channel_base": 64, "mapping_layers": 2}


def check(kind, theirs, ours):
    """Raise ValueError as the beginning of a training run does."""
    if found := misfits(kind, theirs, ours):
        raise ValueError(differing(found))


def shaken(network):
    """With no parameter at its initial value."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return network.eval().requires_grad_(False)


def generators(theirs, ours):
    torch.manual_seed(0)
    a, b = (Generator(GeneratorConfig(**(SIZES | {"z_dim": 8, "w_dim": 8} | kind))) for kind in (theirs, ours))
    state, changes = adapt_generator(shaken(a), shaken(b))
    b.load_state_dict(state)
    return a, b, changes


def discriminators(theirs, ours):
    torch.manual_seed(0)
    a, b = (Discriminator(DiscriminatorConfig(**(SIZES | kind))) for kind in (theirs, ours))
    state, changes = adapt_discriminator(shaken(a), shaken(b))
    b.load_state_dict(state)
    return a, b, changes


def images(G, c=None, count=3):
    z = torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    return G(z, c, noise_mode="const")


def pictures(channels, count=4):
    return torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_a_network_of_the_same_form_takes_everything():
    for a, b, changes in (generators({"classes": 3}, {"classes": 3}), discriminators({"classes": 3}, {"classes": 3})):
        torch.testing.assert_close(b.state_dict(), a.state_dict(), rtol=0, atol=0)
        assert changes == []


CONVERTED = {
    (1, 3): lambda x: x.expand(-1, 3, -1, -1),
    (3, 1): lambda x: x.mean(dim=1, keepdim=True),
    (3, 4): lambda x: torch.cat([x, torch.ones_like(x[:, :1])], dim=1),
    (4, 3): lambda x: x[:, :3],
    (4, 1): lambda x: x[:, :3].mean(dim=1, keepdim=True),
    (1, 4): lambda x: torch.cat([x.expand(-1, 3, -1, -1), torch.ones_like(x)], dim=1),
}


@pytest.mark.parametrize("source, dest", CONVERTED)
def test_other_channels_show_and_judge_the_same_pictures(source, dest):
    a, b, changes = generators({"channels": source}, {"channels": dest})
    torch.testing.assert_close(images(b), CONVERTED[source, dest](images(a)), atol=1e-5, rtol=1e-5)
    assert changes == [f"{dest} channels instead of {source}"]
    a, b, _ = discriminators({"channels": source}, {"channels": dest})
    x = pictures(dest)
    torch.testing.assert_close(b(x), a(CONVERTED[dest, source](x)), atol=1e-5, rtol=1e-4)


def test_new_classes_begin_as_the_network_without():
    a, b, changes = generators({}, {"classes": 3})
    for k in range(3):
        c = torch.eye(3)[[k, k, k]]
        torch.testing.assert_close(images(b, c), images(a), atol=1e-5, rtol=1e-5)
    assert changes == ["3 classes instead of none"]
    a, b, _ = discriminators({}, {"classes": 3})
    for key, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[key]) != key.startswith("tail.out."), key


def test_without_classes_a_generator_of_one_class_stays_what_it_was():
    a, b, changes = generators({"classes": 1}, {})
    torch.testing.assert_close(images(b), images(a, torch.ones(3, 1)), atol=1e-5, rtol=1e-5)
    assert changes == ["no classes instead of 1"]


def test_without_classes_scores_are_the_mean_over_classes():
    a, b, _ = discriminators({"classes": 5}, {})
    x = pictures(3)
    scores = [a(x, torch.eye(5)[[k] * len(x)]) for k in range(5)]
    torch.testing.assert_close(b(x), torch.stack(scores).mean(dim=0), atol=1e-5, rtol=1e-4)


def test_another_number_of_classes_starts_their_embedding_anew():
    for a, b, changes in (generators({"classes": 5}, {"classes": 2}), discriminators({"classes": 5}, {"classes": 2})):
        for key, tensor in a.state_dict().items():
            assert (tensor.shape == b.state_dict()[key].shape) == (key != "mapping.embed.weight")
            assert key.startswith("mapping.embed.") or torch.equal(tensor, b.state_dict()[key]), key
        assert changes == ["2 classes instead of 5"]


def test_larger_images_begin_as_the_old_ones_enlarged():
    a, b, changes = generators({}, {"height": 32, "width": 32})
    enlarged = upsample2d(images(a), setup_filter((1, 3, 3, 1)))
    torch.testing.assert_close(images(b), enlarged, atol=1e-5, rtol=1e-5)
    assert changes == ["images of 32x32 instead of 16x16"]


@pytest.mark.parametrize("theirs, ours", [(16, 64), (64, 16)])
def test_blocks_of_the_same_size_are_shared(theirs, ours):
    sizes = [{"height": side, "width": side} for side in (theirs, ours)]
    a, b, _ = generators(*sizes)
    for k in range(3):
        assert same(a.synthesis.blocks[k], b.synthesis.blocks[k])
    a, b, _ = discriminators(*sizes)
    assert same(a.tail, b.tail) and not same(a.from_rgb, b.from_rgb)
    for i in (1, 2):  # from the end
        assert same(a.blocks[-i], b.blocks[-i])


def same(a, b) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"channel_base": 32},
            "its generator.channel_base is 64, but this run has 32: use --set generator.channel_base=64",
        ),
        ({"mapping_layers": 3}, "its generator.mapping_layers is 2, but this run has 3"),
        (
            {"height": 24},
            "its images of 16x16 are doublings of 4x4, and images of 16x24 of 4x6: "
            "crop or pad the images to the same shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(ValueError) as caught:
        check("generator", GeneratorConfig(**SIZES), GeneratorConfig(**(SIZES | change)))
    assert message in str(caught.value)


def test_widths_count_where_blocks_are_shared():
    """A channel_max that no shared block reaches does no harm."""
    check("generator", GeneratorConfig(**SIZES, channel_max=16), GeneratorConfig(**SIZES, channel_max=512))


@pytest.mark.parametrize("theirs, ours, fits", [(0, 0, True), (0, 2, True), (2, 0, True), (2, 2, False)])
def test_a_discriminator_without_classes_maps_nothing_so_that_its_layers_do_not_matter(theirs, ours, fits):
    a = DiscriminatorConfig(**SIZES | {"mapping_layers": 8, "classes": theirs})
    b = DiscriminatorConfig(**SIZES | {"classes": ours})
    if not fits:
        with pytest.raises(ValueError, match=r"^its discriminator\.mapping_layers is 8, but this run has 2: "):
            check("discriminator", a, b)
        return
    check("discriminator", a, b)
    new = Discriminator(b)
    new.load_state_dict(adapt_discriminator(Discriminator(a), new)[0])


def test_all_that_does_not_fit_is_said_at_once():
    theirs = GeneratorConfig(**SIZES | {"z_dim": 32, "w_dim": 64, "mapping_layers": 5, "channel_base": 128})
    ours = GeneratorConfig(**SIZES | {"z_dim": 8, "w_dim": 16, "channel_max": 8})
    with pytest.raises(ValueError) as caught:
        check("generator", theirs, ours)
    flags = str(caught.value).split(": use ")[1]
    given = dict(flag.split("=") for flag in flags.replace("--set ", "").split())
    assert {name.removeprefix("generator.") for name in given} == {
        "mapping_layers", "z_dim", "w_dim", "channel_base", "channel_max"
    }  # fmt: skip
    mended = ours.model_copy(update={name.removeprefix("generator."): int(value) for name, value in given.items()})
    check("generator", theirs, mended)
