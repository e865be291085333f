"""Official TensorFlow pickles: equal to the recorded numbers once their orders are undone, and refused otherwise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.families import read_network
from models.stylegan2.foreign.nvidia import ARCHITECTURES
from tests.models.foreign import pickled
from tests.models.foreign.networks import discriminator_tensors, generator_tensors, open_foreign
from tests.models.foreign.pickled import Module, Network
from tests.reference.architectures import generated, judged
from tests.reference.comparison import FORWARD, compare_forward
from tests.reference.official import load_case, official_tensors


def official(case: str = "rgb16", **kwargs: Any) -> tuple[Network, Network, Network]:
    return pickled.tensorflow_networks(official_tensors(case, "G"), official_tensors(case, "D"), **kwargs)


@pytest.mark.parametrize("case, protocol", [("rgb16", 2), ("rgb16", 4), ("labels32", 3)])
def test_equality_with_recorded_numbers(tmp_path, monkeypatch, case, protocol):
    mark = tmp_path / "mark"
    monkeypatch.setattr(Module, "source", f"open({str(mark)!r}, 'w').close()")
    kwargs = {"resolution": 32 if case == "labels32" else 16, "fmap_base": 8192, "mbstd_group_size": 4}
    path = pickled.write(tmp_path / "a.pkl", official(case, **kwargs), protocol)
    file = read_network(path)
    recorded = load_case(case)
    recorded.G, recorded.D = file.part("G_ema"), file.part("D")
    made = compare_forward(recorded)
    assert len(made.errors) == 8 and made.worst()[0] < FORWARD, made.worst()
    assert file.parts == ["G_ema", "G", "D"] and not mark.exists()
    for name, tensor in file.part("G").state_dict().items():
        assert torch.equal(tensor, recorded.G.state_dict()[name]), name


def test_names_are_those_of_the_format():
    """A few of them, spelled out, so that reader and writer are not wrong in the same way."""
    tensors = {
        "synthesis.b4.conv1.affine.bias": "synthesis/4x4/Conv/mod_bias",
        "synthesis.b8.conv0.weight": "synthesis/8x8/Conv0_up/weight",
        "synthesis.b8.conv1.affine.weight": "synthesis/8x8/Conv1/mod_weight",
        "synthesis.b16.torgb.weight": "synthesis/16x16/ToRGB/weight",
        "synthesis.b4.conv1.noise_const": "synthesis/noise0",
        "synthesis.b8.conv0.noise_const": "synthesis/noise1",
        "synthesis.b8.conv1.noise_const": "synthesis/noise2",
        "synthesis.b16.conv0.noise_const": "synthesis/noise3",
        "mapping.fc1.weight": "mapping/Dense1/weight",
        "mapping.w_avg": "dlatent_avg",
    }
    G = official_tensors("rgb16", "G")
    for theirs, name in tensors.items():
        assert pickled._variable(theirs, G[theirs].numpy())[0] == name
    D = official_tensors("rgb16", "D")
    for theirs, name in {
        "b16.fromrgb.weight": "16x16/FromRGB/weight",
        "b16.conv1.bias": "16x16/Conv1_down/bias",
        "b8.skip.weight": "8x8/Skip/weight",
        "b4.conv.weight": "4x4/Conv/weight",
        "b4.fc.weight": "4x4/Dense0/weight",
        "b4.out.bias": "Output/bias",
    }.items():
        assert pickled._variable(theirs, D[theirs].numpy())[0] == name
    name, x = pickled._variable("synthesis.b8.conv0.weight", np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3))
    assert x.shape == (3, 3, 1, 1) and x.flatten().tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_what_is_known_of_the_file(tmp_path):
    kwargs = {
        "fmap_base": 256,
        "fmap_max": 32,
        "conv_clamp": 256,
        "mbstd_group_size": 8,
        "resample_kernel": [1, 3, 3, 1],
    }
    kwargs |= {"randomize_noise": True, "label_size": 0, "unheard_of": None}
    _, metadata, _ = open_foreign(pickled.write(tmp_path / "a.pkl", official(**kwargs)))
    assert metadata["source"] == {
        "format": "TensorFlow pickle",
        "file": "a.pkl",
    }
    for name in ("generator", "discriminator"):
        assert metadata[name]["channel_base"] == 512 and metadata[name]["channel_max"] == 32
        assert metadata[name]["clamp"] == 256
    assert metadata["discriminator"]["mbstd_group"] == 8 and metadata["generator"]["z_dim"] == 32


def set_kwarg(name: str, value: Any) -> Callable[[Any], None]:
    return lambda networks: networks[2].state["static_kwargs"].update({name: value})


def set_variable(name: str, value: Any) -> Callable[[Any], None]:
    def change(networks: Any) -> None:
        variables = dict(networks[1].state["variables"]) | {name: value}
        networks[1].state["variables"] = list(variables.items())

    return change


def circle() -> Network:
    network = Network(variables=[], components={})
    network.state["components"]["x"] = network
    return network


@pytest.mark.parametrize("architecture", ["residual", "plain", "skip"])
def test_architectures(tmp_path, architecture):
    """The pictures and scores are those of the equations written out, from the tensors that the file was made of."""
    kwargs = {"architecture": ARCHITECTURES[architecture], "resolution": 16}
    g = generator_tensors(architecture=architecture, height=16, width=16, channel_base=128)
    d = discriminator_tensors(architecture=architecture, height=16, width=16, channel_base=128)
    file = read_network(pickled.write(tmp_path / "a.pkl", pickled.tensorflow_networks(g, d, **kwargs)))
    ws, images = torch.randn(2, 6, 4), torch.rand(4, 3, 16, 16) * 2 - 1
    wanted = generated(g, ws, ARCHITECTURES[architecture], 16)
    torch.testing.assert_close(file.part("G_ema").synthesis(ws, "const").double(), wanted, rtol=0, atol=1e-5)
    scores = judged(d, images, ARCHITECTURES[architecture], 4)
    torch.testing.assert_close(file.part("D")(images).double(), scores, rtol=1e-5, atol=1e-5)


def test_a_network_that_has_grown_makes_its_image_at_the_largest_size(tmp_path):
    g = generator_tensors(architecture="plain", height=16, width=16, channel_base=128)
    (networks, *_) = pickled.tensorflow_networks(g, discriminator_tensors())
    part = networks.state["components"]["synthesis"].state
    grown = [(name.replace("16x16/ToRGB", "ToRGB_lod0"), value) for name, value in part["variables"]]
    part["variables"] = [*grown, ("ToRGB_lod1/weight", NUMBERS), ("lod", np.float32(0))]
    file = read_network(pickled.write(tmp_path / "a.pkl", networks))
    assert file.metadata["generator"]["architecture"] == "plain"
    ws = torch.randn(2, 6, 4)
    wanted = generated(g, ws, "orig", 16)
    torch.testing.assert_close(file.part("G_ema").synthesis(ws, "const").double(), wanted, rtol=0, atol=1e-5)


NUMBERS = np.zeros([2, 2], np.float32)
REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda networks: networks[2].state.update(version=3),
        "its G_ema is of version 3, and those of StyleGAN2 begin with 4: networks of the first StyleGAN are not read",
    ),
    (set_kwarg("use_wings", True), "its network was made with the option 'use_wings', which StyleGAN2 does not have"),
    (set_kwarg("mapping_lrmul", 1), "its G_ema has the mapping_lrmul 1, expected 0.01"),
    (set_kwarg("architecture", "orig"), "its G_ema has the architecture 'orig', expected 'skip'"),
    (
        set_kwarg("resample_kernel", [1, 1]),
        "its G_ema has the resample_kernel [1, 1], expected [1, 3, 3, 1]",
    ),
    (set_kwarg("resolution", 99), "its G_ema has the resolution 99, expected 16"),
    (
        lambda networks: networks[2].state["components"].update(mapping=3),
        "it is damaged (mapping: 3)",
    ),
    (
        lambda networks: networks[2].state["components"].update(mapping=circle()),
        "it has more tensors and modules, or longer names, than any StyleGAN2",
    ),
    (
        lambda networks: networks[2].state.update(variables=[(f"{i}/lod", np.float32(0)) for i in range(19_999)]),
        "it has more tensors and modules, or longer names, than any StyleGAN2",
    ),
    (lambda networks: networks[2].state.update(static_kwargs=3), "it is damaged (the options: 3)"),
]


OF_D: list[tuple[Callable[[Any], Any], str]] = [
    (set_variable("16x16/Eye/weight", NUMBERS), "its variable '16x16/Eye/weight' has no place in StyleGAN2"),
    (
        set_variable("16x16/Conv0/weight", NUMBERS),
        "its 16x16/Conv0/weight has shape (2, 2), which no such variable has",
    ),
    (set_variable("16x16/Conv0/bias", "3"), "it is damaged (16x16/Conv0/bias: '3')"),
    (
        set_variable("16x16/ToRGB_lod2/weight", NUMBERS),
        "its variable '16x16/ToRGB_lod2/weight' has no place in StyleGAN2",
    ),
    (
        lambda networks: networks[1].state["variables"].append(("16x16/Conv0/bias", NUMBERS)),
        "it is damaged (a name has two values: '16x16/Conv0/bias')",
    ),
]


@pytest.mark.parametrize("damage, sentence", REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_refusals(tmp_path, damage, sentence):
    networks = official()
    damage(networks)
    path = pickled.write(tmp_path / "a.pkl", networks)
    with pytest.raises(ValueError) as error:
        open_foreign(path)
    assert str(error.value) == f"{path} is refused: {sentence}"


@pytest.mark.parametrize("damage, sentence", OF_D, ids=[sentence for _, sentence in OF_D])
def test_a_discriminator_that_is_none_of_ours_is_left_out(tmp_path, damage, sentence):
    networks = official()
    damage(networks)
    file = read_network(pickled.write(tmp_path / "a.pkl", networks))
    assert file.parts == ["G_ema", "G"] and file.left_out == {"D": sentence}
