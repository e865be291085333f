import argparse

import pytest
import torch

from models.families import read_network
from models.stylegan2.foreign import rosinality
from tests.networks import tiny_discriminator, tiny_generator


def tiny_file(path, zipped=True, noises=True, **more):
    """A training file of tiny networks."""
    G, G_ema, D = tiny_generator(), tiny_generator(mapping_layers=1), tiny_discriminator()
    for p in G.parameters():
        p.data.add_(0.1)
    states = {"g": G, "g_ema": G_ema, "d": D}
    value = {name: rosinality.state_of(network) for name, network in states.items()}
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
    halves = {name: t.half() for name, t in rosinality.state_of(networks["G_ema"]).items()}
    torch.save({"g_ema": halves, "latent_avg": torch.zeros(1, 8)}, path)
    G = read_network(path).part("G_ema")
    assert torch.equal(G.synthesis.const, networks["G_ema"].synthesis.const.half().float())
    assert G.mapping.w_average.shape == (8,)


def _without(state, name):
    return {key: t for key, t in state.items() if key != name}


SPOILED = {
    "missing": (lambda s: _without(s, "conv1.noise.weight"), "1 tensors are missing, the first is conv1.noise.weight"),
    "left over": (lambda s: s | {"zoo": torch.ones(1)}, "1 tensors have no place in this network, the first is zoo"),
    "shape": (
        lambda s: s | {"conv1.noise.weight": torch.ones(2)},
        "its conv1.noise.weight has shape [2], expected []",
    ),
    "filter": (
        lambda s: s | {"convs.0.conv.blur.kernel": torch.ones(4, 4) / 4},
        "its convs.0.conv.blur.kernel is another filter, expected (1, 3, 3, 1)",
    ),
    "no style": (
        lambda s: {key: t for key, t in s.items() if not key.startswith("style")},
        "it has 2 blocks to_rgbs.… and 0 layers style.…",
    ),
    "no width": (
        lambda s: _without(s, "convs.1.activate.bias"),
        "1 tensors are missing, the first is convs.1.activate.bias",
    ),
    "widths": (
        lambda s: s | {"convs.1.conv.weight": torch.ones(1, 15, 16, 3, 3)},
        "its layers are 16, 15, 16 wide at 4, 8, 16 pixels, expected widths that halve as the size doubles, "
        "up to a largest width",
    ),
    "text": (lambda s: s | {"conv1.noise.weight": "x"}, "'conv1.noise.weight' in its g_ema is not a plain tensor"),
    "list": (lambda s: list(s), "its g_ema is not a table of tensors"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_file_that_does_not_fit_is_refused(tmp_path, case):
    spoil, reason = SPOILED[case]
    path = tmp_path / "a.pt"
    torch.save({"g_ema": spoil(rosinality.state_of(tiny_generator()))}, path)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: {reason}"


def test_a_discriminator_that_does_not_fit_is_left_out(tmp_path):
    states = {
        name: rosinality.state_of(network) for name, network in (("g", tiny_generator()), ("d", tiny_discriminator()))
    }
    path = tmp_path / "a.pt"
    torch.save({"g_ema": states["g"], "d": _without(states["d"], "final_conv.0.weight")}, path)
    file = read_network(path)
    assert file.parts == ["G_ema"] and "b4.conv.weight" in file.left_out["D"]


def test_an_average_of_another_length_is_refused(tmp_path):
    path, _ = tiny_file(tmp_path / "a.pt", latent_avg=torch.zeros(9))
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: latent_avg has 9 numbers, expected 8, the width of w"


def test_files_of_torch_save_of_other_programs_are_told(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(ValueError) as error:
        read_network(tmp_path / "a.pt")
    assert str(error.value) == (
        f"{tmp_path / 'a.pt'} is refused: it holds 'state_dict', 'epoch', expected a file of rosinality's "
        "stylegan2-pytorch or lucidrains' stylegan2-pytorch or DiT or guided-diffusion or naoto0804's pytorch-AdaIN "
        "or torchvision's VGG or naoto0804's vgg_normalised.pth"
    )


ROWS = {
    "G_ema alone": (lambda g, d, g_ema: g_ema, "G_ema"),
    "D alone": (lambda g, d, g_ema: d, "D"),
    "a row": (lambda g, d, g_ema: (g, d, g_ema), "G_ema G D"),
    "a list with None": (lambda g, d, g_ema: [None, g_ema], "G_ema"),
    "a dict without g_ema": (lambda g, d, g_ema: {"g": g, "d": d, "g_ema": None}, "G D"),
    "a dict of D": (lambda g, d, g_ema: {"d": d}, "D"),
}


@pytest.mark.parametrize("row", ROWS)
def test_networks_alone_and_in_a_row(tmp_path, row):
    path, networks = tiny_file(tmp_path / "a.pt")
    make, parts = ROWS[row]
    torch.save(make(*(rosinality.state_of(networks[name]) for name in ("G", "D", "G_ema"))), path)
    file = read_network(path)
    assert " ".join(file.parts) == parts
    z, images = torch.randn(2, 8), torch.randn(4, 3, 16, 16)
    for name in file.parts:
        given = (images,) if name == "D" else (z,)
        options = {} if name == "D" else {"noise_mode": "const"}
        assert torch.equal(file.part(name)(*given, **options), networks[name](*given, **options))


@pytest.mark.parametrize("row", [[], [3], [None], 7, "text", [{}], [{"a": 1}]], ids=str)
def test_rows_of_other_things(tmp_path, row):
    torch.save(row, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"is refused: it holds .*, expected a file of rosinality's"):
        read_network(tmp_path / "a.pt")
