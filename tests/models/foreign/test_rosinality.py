import re

import pytest
import torch

from models.families import read_network
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import rosinality
from models.stylegan2.foreign.rosinality import to_rosinality, write_rosinality
from models.stylegan2.generator import Generator

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


def test_they_come_back_bit_for_bit(networks, contents, tmp_path):
    torch.save(contents, tmp_path / "a.pt")
    converted = rosinality.from_rosinality(contents, tmp_path / "a.pt")
    assert converted.metadata["source"] == {"format": "rosinality .pt (converted)", "w_average": "latent_avg"}
    assert GeneratorConfig(**converted.metadata["generator"]).z_dim == M
    names = {f"{part}.{key}" for part, network in networks.items() for key in network.state_dict()}
    assert converted.tensors.keys() == names
    for part, network in networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(converted.tensors[f"{part}.{key}"], tensor), key


def sized(kind=GeneratorConfig, **settings):
    """A network on the meta device, of a size that its graph can hold but for the settings."""
    build = Generator if kind is GeneratorConfig else Discriminator
    with torch.device("meta"):
        return build(kind(**{"height": 64, "width": 64} | settings))


WIDTHS = "its widths are not 512 up to 32 x 32, and then a multiple of 16384 / size"
UNFIT = {
    "classes": (sized(classes=3), "its classes is 3, expected 0"),
    "gray": (sized(channels=1), "its channels is 1, expected 3"),
    "wide": (sized(height=32), "its width is 64, expected 32"),
    "96": (sized(height=96, width=96), "its base is (3, 3), expected (4, 4)"),
    "narrow": (sized(channel_max=256), WIDTHS),
    "uneven": (sized(channel_base=24576), WIDTHS),
    "z": (sized(z_dim=64), "its z_dim is 64, expected 512"),
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
        ({"architecture": "plain"}, "its architecture is plain, expected residual"),
        ({"mbstd_group": 8}, "its mbstd_group is 8, expected 4"),
    ],
)
def test_a_discriminator_that_its_graph_cannot_hold_is_refused(networks, settings, reason):
    D = sized(DiscriminatorConfig, **settings)
    with pytest.raises(ValueError) as error:
        to_rosinality({"G_ema": networks["G_ema"], "D": D})
    assert str(error.value) == f"D has no place in a file of rosinality's program: {reason}"


def test_a_file_without_an_averaged_generator_is_refused(networks):
    with pytest.raises(ValueError) as error:
        to_rosinality({"D": networks["D"]})
    assert str(error.value) == (
        "a file of rosinality's program needs an averaged generator, and there is no G_ema: add it"
    )


def test_a_file_is_written_whole_and_read_by_anyone(tmp_path, networks):
    path = tmp_path / "a.pt"
    write_rosinality(path, {"G_ema": networks["G_ema"]})
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    assert torch.load(path, weights_only=True).keys() == {"g_ema", "latent_avg"}
    assert read_network(path).parts == ["G_ema"]
