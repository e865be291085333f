"""Official PyTorch pickles that hold something else than networks that can be built here: what differs is named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.families import read_network
from tests.models.foreign import pickled
from tests.models.foreign.networks import official
from tests.models.foreign.pickled import Module

Damage = Callable[[Module, Module], object]  # what to do to G_ema and D

MANY = "it has more tensors and modules, or longer names, than any StyleGAN2"
REFUSED: dict[str, tuple[Damage, str]] = {}


def refused(sentence: str) -> Callable[[Damage], Damage]:
    def keep(damage: Damage) -> Damage:
        REFUSED[damage.__name__] = damage, sentence
        return damage

    return keep


def parameters(module: Module, path: str) -> dict[str, Any]:
    return module[path].state["_parameters"]


@refused("its synthesis.b4 has the architecture 'skip', expected 'resnet'")
def resnet(G, D):
    for name in ("weight", "bias"):
        del parameters(G, "synthesis.b4.torgb")[name]
    for name in ("weight", "bias"):
        del parameters(G, "synthesis.b4.torgb.affine")[name]
    G["synthesis.b8"].state["_modules"]["skip"] = skip = Module("Conv2dLayer", {})
    skip.state["_parameters"]["weight"] = torch.nn.Parameter(torch.zeros(4, 8, 1, 1))


@refused("its b4 has the architecture 'skip', expected 'resnet'")
def architecture(G, D):
    D["b4"].state["architecture"] = "skip"


@refused("its discriminator has 2 maps of the minibatch standard deviation, expected 1")
def features(G, D):
    parameters(D, "b4.conv")["weight"] = torch.zeros(8, 10, 3, 3)


@refused("its b4.mbstd has the num_channels 2, expected 1")
def channels(G, D):
    D["b4.mbstd"].state["num_channels"] = 2


@refused("it is damaged (its mbstd_group_size is 'all')")
def group(G, D):
    D["b4.mbstd"].state["group_size"] = "all"


@refused(
    "it is a StyleGAN3 network of another configuration: only StyleGAN3 networks of the configuration "
    "stylegan2 can be read here"
)
def stylegan3(G, D):
    G["synthesis"].state["_modules"]["input"] = Module("SynthesisInput", {})


@refused("its module 'synthesis.stem' is of the class 'SuperresGenerator', which StyleGAN2 does not have")
def another_class(G, D):
    G["synthesis"].state["_modules"]["stem"] = Module("SuperresGenerator", {})


@refused("it is damaged (mapping.fc0: a dict)")
def no_module(G, D):
    G["mapping"].state["_modules"]["fc0"] = {}


@refused("its network was made with the option 'cbase', which StyleGAN2 does not have")
def option(G, D):
    G.state["_init_kwargs"] |= {"resolution_w": 8, "fp32_from": 3, "channel_base": 2**2000, "cbase": 2}


@refused("its layers have different limits (conv_clamp 0 and 256), expected one limit")
def clamps(G, D):
    G["synthesis.b8.conv0"].state["conv_clamp"] = 256


@refused("it is damaged (its conv_clamp is -1)")
def clamp(G, D):
    G["synthesis.b8.conv0"].state["conv_clamp"] = -1


@refused("its D has the img_resolution 16, expected 8")
def resolution(G, D):
    D.state["_init_kwargs"]["img_resolution"] = 16


@refused("its synthesis.b8.conv1 has the activation 'relu', expected 'lrelu'")
def activation(G, D):
    G["synthesis.b8.conv1"].state["activation"] = "relu"


@refused("its synthesis.b8.conv1 has the use_noise False, expected True")
def no_noise(G, D):
    G["synthesis.b8.conv1"].state["use_noise"] = False


@refused("its mapping.fc0 has the bias_gain 1, expected 0.01")
def rate(G, D):
    G["mapping.fc0"].state["bias_gain"] = 1


@refused("its b8.conv0 has the weight_gain 'x', expected 0.166667")
def gain(G, D):
    D["b8.conv0"].state["weight_gain"] = "x"


@refused("its synthesis.b8.conv0.resample_filter is another filter, expected (1, 3, 3, 1)")
def another_filter(G, D):
    G["synthesis.b8.conv0"].state["_buffers"]["resample_filter"] = torch.ones(4, 4) / 16


@refused("1 tensors are missing, the first is synthesis.b8.conv0.affine.bias")
def missing(G, D):
    del parameters(G, "synthesis.b8.conv0.affine")["bias"]


@refused("1 tensors have no place in this network, the first is synthesis.b8.conv0.scale")
def left_over(G, D):
    parameters(G, "synthesis.b8.conv0")["scale"] = torch.zeros(4)


@refused("its synthesis.b8.conv0.affine.bias has shape [3], expected [8]")
def shape(G, D):
    parameters(G, "synthesis.b8.conv0.affine")["bias"] = torch.zeros(3)


@refused("1 tensors have no place in this network, the first is b8.a??b")
def strange_name(G, D):
    parameters(D, "b8")["a\n\x1bb"] = torch.zeros(4)


@refused("its synthesis.b8.conv1.weight has shape [4], expected 4 dimensions")
def dimensions(G, D):
    parameters(G, "synthesis.b8.conv1")["weight"] = torch.zeros(4)


@refused("it is damaged (mapping.fc0.bias: 3)")
def no_tensor(G, D):
    parameters(G, "mapping.fc0")["bias"] = 3


@refused("it has blocks for 4, 8, 32, expected 4, 8, 16, ... pixels")
def sizes(G, D):
    G["synthesis"].state["_modules"]["b32"] = G["synthesis.b8"]


@refused(
    "its layers are 8, 9 wide at 4, 8 pixels, expected widths that halve as the size doubles, up to a largest width"
)
def widths(G, D):
    parameters(G, "synthesis.b8.conv1")["weight"] = torch.zeros(9, 9, 3, 3)


@refused("its tensors take more bytes than the file, by using some many times")
def circle(G, D):
    G["mapping"].state["_modules"]["fc0"] = G


@refused(MANY)
def shared_table(G, D):
    table = {f"t{i}": None for i in range(15_000)}
    for name in ("conv0", "conv1"):
        G[f"synthesis.b8.{name}"].state["_buffers"] = table


@refused(MANY)
def long_names(G, D):
    parameters(G, "synthesis.b8.conv0")["x" * 5000] = torch.zeros(4)


@refused("it is damaged (_modules: 5)")
def modules(G, D):
    G["mapping"].state["_modules"] = 5


@refused("its network cannot be built here: --set mapping_layers: got 33: input should be less than or equal to 32")
def too_many_layers(G, D):
    for i in range(1, 33):
        G["mapping"].state["_modules"][f"fc{i}"] = G["mapping.fc0"]


OF_D = ("architecture", "features", "channels", "group", "resolution", "gain", "strange_name")


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path, name):
    value = official()
    damage, sentence = REFUSED[name]
    damage(value["G_ema"], value["D"])
    kept = {"D": value["D"]} if name in OF_D else {"D": value["D"], "G_ema": value["G_ema"]}
    path = pickled.write(tmp_path / "a.pkl", kept)
    with pytest.raises(ValueError) as error:
        read_network(path)
    assert str(error.value) == f"{path} is refused: {sentence}"


@pytest.mark.parametrize("name", OF_D)
def test_a_discriminator_that_is_none_of_ours_is_left_out_where_there_is_a_generator(tmp_path, name):
    value = official()
    damage, sentence = REFUSED[name]
    damage(value["G_ema"], value["D"])
    file = read_network(pickled.write(tmp_path / "a.pkl", value))
    assert file.parts == ["G_ema", "G"] and file.part("G_ema") and "discriminator" not in file.metadata
    assert file.left_out == {"D": sentence} == file.metadata["source"]["left_out"]
    with pytest.raises(ValueError) as error:
        file.part("D")
    assert str(error.value) == f"{file} has no D ({sentence}), only G_ema, G: take another network file"
