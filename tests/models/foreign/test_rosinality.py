import argparse
import re

import pytest
import torch

from models.families import read_network, save_network
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import rosinality
from models.stylegan2.foreign.rosinality import to_rosinality, write_rosinality
from models.stylegan2.generator import Generator
from tests.networks import tiny_discriminator, tiny_generator

# Its names and shapes for images of 16 x 16, and our names; written down from the state dicts of its modules.
# M is the width of w, C of the features.
M, C = 24, 512
GENERATOR = """
style.1.weight                  M M        mapping.layers.0.weight
style.1.bias                    M          mapping.layers.0.bias
style.2.weight                  M M        mapping.layers.1.weight
style.2.bias                    M          mapping.layers.1.bias
input.input                     1 C 4 4    synthesis.const
conv1.conv.weight               1 C C 3 3  synthesis.blocks.0.conv1.conv.weight
conv1.conv.modulation.weight    C M        synthesis.blocks.0.conv1.affine.weight
conv1.conv.modulation.bias      C          synthesis.blocks.0.conv1.affine.bias
conv1.noise.weight              1          synthesis.blocks.0.conv1.noise.strength
conv1.activate.bias             C          synthesis.blocks.0.conv1.bias
to_rgb1.bias                    1 3 1 1    synthesis.blocks.0.rgb.bias
to_rgb1.conv.weight             1 3 C 1 1  synthesis.blocks.0.rgb.conv.weight
to_rgb1.conv.modulation.weight  C M        synthesis.blocks.0.rgb.affine.weight
to_rgb1.conv.modulation.bias    C          synthesis.blocks.0.rgb.affine.bias
convs.0.conv.weight             1 C C 3 3  synthesis.blocks.1.conv0.conv.weight
convs.0.conv.blur.kernel        4 4
convs.0.conv.modulation.weight  C M        synthesis.blocks.1.conv0.affine.weight
convs.0.conv.modulation.bias    C          synthesis.blocks.1.conv0.affine.bias
convs.0.noise.weight            1          synthesis.blocks.1.conv0.noise.strength
convs.0.activate.bias           C          synthesis.blocks.1.conv0.bias
convs.1.conv.weight             1 C C 3 3  synthesis.blocks.1.conv1.conv.weight
convs.1.conv.modulation.weight  C M        synthesis.blocks.1.conv1.affine.weight
convs.1.conv.modulation.bias    C          synthesis.blocks.1.conv1.affine.bias
convs.1.noise.weight            1          synthesis.blocks.1.conv1.noise.strength
convs.1.activate.bias           C          synthesis.blocks.1.conv1.bias
convs.2.conv.weight             1 C C 3 3  synthesis.blocks.2.conv0.conv.weight
convs.2.conv.blur.kernel        4 4
convs.2.conv.modulation.weight  C M        synthesis.blocks.2.conv0.affine.weight
convs.2.conv.modulation.bias    C          synthesis.blocks.2.conv0.affine.bias
convs.2.noise.weight            1          synthesis.blocks.2.conv0.noise.strength
convs.2.activate.bias           C          synthesis.blocks.2.conv0.bias
convs.3.conv.weight             1 C C 3 3  synthesis.blocks.2.conv1.conv.weight
convs.3.conv.modulation.weight  C M        synthesis.blocks.2.conv1.affine.weight
convs.3.conv.modulation.bias    C          synthesis.blocks.2.conv1.affine.bias
convs.3.noise.weight            1          synthesis.blocks.2.conv1.noise.strength
convs.3.activate.bias           C          synthesis.blocks.2.conv1.bias
to_rgbs.0.bias                  1 3 1 1    synthesis.blocks.1.rgb.bias
to_rgbs.0.upsample.kernel       4 4
to_rgbs.0.conv.weight           1 3 C 1 1  synthesis.blocks.1.rgb.conv.weight
to_rgbs.0.conv.modulation.weight  C M      synthesis.blocks.1.rgb.affine.weight
to_rgbs.0.conv.modulation.bias  C          synthesis.blocks.1.rgb.affine.bias
to_rgbs.1.bias                  1 3 1 1    synthesis.blocks.2.rgb.bias
to_rgbs.1.upsample.kernel       4 4
to_rgbs.1.conv.weight           1 3 C 1 1  synthesis.blocks.2.rgb.conv.weight
to_rgbs.1.conv.modulation.weight  C M      synthesis.blocks.2.rgb.affine.weight
to_rgbs.1.conv.modulation.bias  C          synthesis.blocks.2.rgb.affine.bias
noises.noise_0                  1 1 4 4    synthesis.blocks.0.conv1.noise.fixed
noises.noise_1                  1 1 8 8    synthesis.blocks.1.conv0.noise.fixed
noises.noise_2                  1 1 8 8    synthesis.blocks.1.conv1.noise.fixed
noises.noise_3                  1 1 16 16  synthesis.blocks.2.conv0.noise.fixed
noises.noise_4                  1 1 16 16  synthesis.blocks.2.conv1.noise.fixed
"""
DISCRIMINATOR = """
convs.0.0.weight        C 3 1 1    from_rgb.weight
convs.0.1.bias          C          from_rgb.bias
convs.1.conv1.0.weight  C C 3 3    blocks.0.conv0.weight
convs.1.conv1.1.bias    C          blocks.0.conv0.bias
convs.1.conv2.0.kernel  4 4
convs.1.conv2.1.weight  C C 3 3    blocks.0.conv1.weight
convs.1.conv2.2.bias    C          blocks.0.conv1.bias
convs.1.skip.0.kernel   4 4
convs.1.skip.1.weight   C C 1 1    blocks.0.skip.weight
convs.2.conv1.0.weight  C C 3 3    blocks.1.conv0.weight
convs.2.conv1.1.bias    C          blocks.1.conv0.bias
convs.2.conv2.0.kernel  4 4
convs.2.conv2.1.weight  C C 3 3    blocks.1.conv1.weight
convs.2.conv2.2.bias    C          blocks.1.conv1.bias
convs.2.skip.0.kernel   4 4
convs.2.skip.1.weight   C C 1 1    blocks.1.skip.weight
final_conv.0.weight     C 513 3 3  tail.conv.weight
final_conv.1.bias       C          tail.conv.bias
final_linear.0.weight   C 8192     tail.fc.weight
final_linear.0.bias     C          tail.fc.bias
final_linear.1.weight   1 C        tail.out.weight
final_linear.1.bias     1          tail.out.bias
"""
ROWS = re.compile(r"^(\S+)((?: +[CM\d]+)+)(?: +(\S+))?$", re.MULTILINE)
KERNEL = torch.tensor([1.0, 3, 3, 1])
KERNEL = KERNEL[:, None] * KERNEL / 64


def table(text: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Their name -> shape and our name."""
    sizes = {"C": C, "M": M}
    return {n: (tuple(sizes.get(s) or int(s) for s in shape.split()), ours) for n, shape, ours in ROWS.findall(text)}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    size = {"height": 16, "width": 16, "mapping_layers": 2}
    G = Generator(GeneratorConfig(**size, z_dim=M, w_dim=M)).requires_grad_(False)
    for _, t in [*G.named_parameters(), *G.named_buffers()]:
        t.normal_()
    return {"G_ema": G, "D": Discriminator(DiscriminatorConfig(**size)).requires_grad_(False)}


@pytest.fixture(scope="module")
def contents(networks):
    return to_rosinality(networks)


@pytest.mark.parametrize("key, ours, text", [("g_ema", "G_ema", GENERATOR), ("d", "D", DISCRIMINATOR)])
def test_names_shapes_and_values_are_those_of_its_modules(networks, contents, key, ours, text):
    state, wanted = networks[ours].state_dict(), table(text)
    assert {name: tuple(t.shape) for name, t in contents[key].items()} == {n: shape for n, (shape, _) in wanted.items()}
    for name, (_, source) in wanted.items():
        if source:
            assert torch.equal(contents[key][name].flatten(), state[source].flatten()), name
        else:
            assert torch.equal(contents[key][name], KERNEL * (4 if key == "g_ema" else 1)), name
    assert {source for _, source in wanted.values() if source} == state.keys() - {"mapping.w_average"}
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in contents[key].values())


def test_they_come_back_bit_for_bit(networks, contents):
    converted = rosinality.from_rosinality(contents, 2**30)
    assert converted.metadata["source"] == {"format": "rosinality .pt (converted)", "w_average": "latent_avg"}
    assert GeneratorConfig(**converted.metadata["generator"]).z_dim == M
    names = {f"{part}.{key}" for part, network in networks.items() for key in network.state_dict()}
    assert converted.tensors.keys() == names
    for part, network in networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(converted.tensors[f"{part}.{key}"], tensor), key


def tiny_file(path, zipped=True, noises=True, **more):
    """A training file of tiny networks."""
    G, G_ema, D = tiny_generator(), tiny_generator(mapping_layers=1), tiny_discriminator()
    for p in G.parameters():
        p.data.add_(0.1)
    states = {"g": G, "g_ema": G_ema, "d": D}
    value = {name: rosinality._theirs(network) for name, network in states.items()}
    if not noises:
        value["g_ema"] = {name: t for name, t in value["g_ema"].items() if not name.startswith("noises")}
    value |= {"g_optim": {"state": {}}, "d_optim": {}, "args": argparse.Namespace(size=16), "ada_aug_p": 0.1}
    torch.save(value | more, path, _use_new_zipfile_serialization=zipped)
    return path, {"G": G, "G_ema": G_ema, "D": D}


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before 1.6"])
def test_a_training_file_opens_as_any_network(tmp_path, zipped):
    path, networks = tiny_file(tmp_path / "010000.pt", zipped)
    file = read_network(path)
    assert file.parts == ["G_ema", "G", "D"] and file.metadata["family"] == "stylegan2"
    z, images = torch.randn(2, 8), torch.randn(4, 3, 16, 16)
    for name in ("G", "G_ema"):
        assert torch.equal(file.part(name)(z, noise_mode="const"), networks[name](z, noise_mode="const"))
    assert torch.equal(file.part("D")(images), networks["D"](images))


def test_the_average_w_that_a_training_file_lacks_is_the_mean_of_mapped_latents(tmp_path):
    path, networks = tiny_file(tmp_path / "a.pt")
    file = read_network(path)
    ws = networks["G_ema"].mapping(torch.randn(40_000, 8, generator=torch.Generator().manual_seed(1)))
    apart = (file.part("G_ema").mapping.w_average - ws.mean(dim=0)).abs()
    assert bool((apart < 5 * ws.std(dim=0) * (1 / 10_240 + 1 / 40_000) ** 0.5).all())
    assert torch.equal(file.part("G").mapping.w_average, file.part("G_ema").mapping.w_average)
    assert torch.equal(read_network(path).part("G").mapping.w_average, file.part("G").mapping.w_average)
    assert file.metadata["source"] == {
        "format": "rosinality .pt (training)",
        "w_average": "mean of 10240 mapped latents",
    }


def test_a_file_of_its_first_versions_gets_noise_to_keep(tmp_path):
    path, _ = tiny_file(tmp_path / "a.pt", noises=False)
    fixed = read_network(path).part("G_ema").synthesis.blocks[2].conv1.noise.fixed
    assert fixed.shape == (16, 16) and 0.8 < fixed.std() < 1.2
    assert torch.equal(fixed, read_network(path).part("G_ema").synthesis.blocks[2].conv1.noise.fixed)


def test_a_file_of_half_precision_is_read(tmp_path):
    path, networks = tiny_file(tmp_path / "a.pt")
    halves = {name: t.half() for name, t in rosinality._theirs(networks["G_ema"]).items()}
    torch.save({"g_ema": halves, "latent_avg": torch.zeros(1, 8)}, path)
    G = read_network(path).part("G_ema")
    assert torch.equal(G.synthesis.const, networks["G_ema"].synthesis.const.half().float())
    assert G.mapping.w_average.shape == (8,)


def _without(state, name):
    return {key: t for key, t in state.items() if key != name}


SPOILED = {
    "missing": (lambda s: _without(s, "conv1.noise.weight"), "conv1.noise.weight is missing"),
    "left over": (lambda s: s | {"zoo": torch.ones(1)}, "1 tensors have no place in it, the first is zoo"),
    "shape": (
        lambda s: s | {"conv1.noise.weight": torch.ones(2)},
        "conv1.noise.weight has the shape [2], and wanted is [1]",
    ),
    "filter": (
        lambda s: s | {"convs.0.conv.blur.kernel": torch.ones(4, 4) / 4},
        "convs.0.conv.blur.kernel is another filter than 1 3 3 1",
    ),
    "no style": (
        lambda s: {key: t for key, t in s.items() if not key.startswith("style")},
        "it has 0 layers style.… and 2 to_rgbs.…",
    ),
    "no width": (lambda s: _without(s, "convs.1.activate.bias"), "convs.1.activate.bias is missing"),
    "wide w": (
        lambda s: s | {"style.1.weight": torch.ones(8, 1).expand(8, 2049).clone()},
        "its latents have 2049 dimensions, and at most 2048 are read",
    ),
    "widths": (
        lambda s: s | {"convs.1.activate.bias": torch.ones(15)},
        "its layers are 16, 15, 16 wide at 4, 8, 16 pixels, and only widths that halve as the size doubles, up to a "
        "largest one, are known here",
    ),
    "text": (lambda s: s | {"conv1.noise.weight": "x"}, "'conv1.noise.weight' in its g_ema is no plain tensor"),
    "list": (lambda s: list(s), "its g_ema is no table of tensors"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_file_that_does_not_fit_is_refused(tmp_path, case):
    spoil, reason = SPOILED[case]
    path = tmp_path / "a.pt"
    torch.save({"g_ema": spoil(rosinality._theirs(tiny_generator()))}, path)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: {reason}"


def test_an_average_of_another_length_is_refused(tmp_path):
    path, _ = tiny_file(tmp_path / "a.pt", latent_avg=torch.zeros(9))
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: latent_avg has 9 numbers, and a w has 8"


def test_files_of_torch_save_of_other_programs_are_told(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(ValueError) as error:
        read_network(tmp_path / "a.pt")
    assert str(error.value) == (
        f"{tmp_path / 'a.pt'} is refused: a file of torch.save is read where it holds g_ema, as rosinality's, or GAN, "
        "as lucidrains', and this one holds 'state_dict', 'epoch'"
    )


def sized(kind=GeneratorConfig, **settings):
    """A network on the meta device, of a size that its graph can hold but for the settings."""
    build = Generator if kind is GeneratorConfig else Discriminator
    with torch.device("meta"):
        return build(kind(**{"height": 64, "width": 64} | settings))


UNFIT = {
    "classes": (sized(classes=3), "it has 3 classes"),
    "grey": (sized(channels=1), "its images have 1 channels, and RGB alone is known there"),
    "RGBA": (sized(channels=4), "its images have 4 channels, and RGB alone is known there"),
    "wide": (sized(height=32), "its images of 32 x 64 are no power of two a side"),
    "96": (sized(height=96, width=96), "its images of 96 x 96 are no power of two a side"),
    "narrow": (sized(channel_max=256), "its widths are not 512 up to 32 x 32, and then a multiple of 16384 / size"),
    "uneven": (sized(channel_base=24576), "its widths are not 512 up to 32 x 32, and then a multiple of 16384 / size"),
    "z": (sized(z_dim=64), "its z and w are not of one width"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_its_graph_cannot_hold_is_refused_with_the_reason(case):
    network, reason = UNFIT[case]
    with pytest.raises(ValueError) as error:
        to_rosinality({"G_ema": network})
    assert str(error.value) == f"G_ema has no place in a file of rosinality's program: {reason}"


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"architecture": "plain"}, "it is of the plain architecture"),
        ({"mbstd_group": 8}, "its minibatch statistics are over 8 samples, not 4"),
    ],
)
def test_a_discriminator_that_its_graph_cannot_hold_is_refused(networks, settings, reason):
    D = sized(DiscriminatorConfig, **settings)
    with pytest.raises(ValueError) as error:
        to_rosinality({"G_ema": networks["G_ema"], "D": D})
    assert str(error.value) == f"D has no place in a file of rosinality's program: {reason}"


@pytest.mark.parametrize("base, multiplier", [(16384, 1), (32768, 2), (65536, None), (24576, None)])
def test_the_channel_multiplier_of_its_widths(base, multiplier):
    config = GeneratorConfig(height=256, width=256, channel_base=base)
    assert rosinality._multiplier(config) == multiplier


def test_a_file_without_an_averaged_generator_is_refused(networks):
    with pytest.raises(ValueError) as error:
        to_rosinality({"D": networks["D"]})
    assert str(error.value) == (
        "a file of rosinality's program holds an averaged generator, and here is no G_ema: add it"
    )


def test_a_file_is_written_whole_and_read_by_anyone(tmp_path, networks):
    path = tmp_path / "a.pt"
    write_rosinality(path, {"G_ema": networks["G_ema"]})
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    assert torch.load(path, weights_only=True).keys() == {"g_ema", "latent_avg"}
    assert read_network(path).parts == ["G_ema"]


def test_it_can_be_kept_as_a_file_of_ours(tmp_path):
    path, networks = tiny_file(tmp_path / "a.pt")
    file = read_network(path)
    save_network(tmp_path / "a.safetensors", "stylegan2", {"D": file.part("D")}, {"source": file.metadata["source"]})
    D = read_network(tmp_path / "a.safetensors").part("D")
    assert all(torch.equal(t, D.state_dict()[key]) for key, t in networks["D"].state_dict().items())
