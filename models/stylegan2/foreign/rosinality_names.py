"""Names of tensors in rosinality/stylegan2-pytorch and in ours. The values are the same, and their order."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur


class Place(NamedTuple):
    """Where a tensor stands in its state dict: its name, and axes of length 1 before and after ours."""

    name: str
    before: int = 0
    after: int = 0

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * self.before + ours + (1,) * self.after


def places(network: nn.Module) -> dict[str, Place]:
    """Our name -> place for every tensor of a network but the average w, which stands beside the state dicts."""
    if isinstance(network, Discriminator):
        return discriminator_places(network.config)
    assert isinstance(network, Generator)
    return generator_places(network.config)


def generator_places(config: GeneratorConfig) -> dict[str, Place]:
    """Our name -> place for every tensor of a generator but the average w."""
    places = {
        f"mapping.layers.{i}.{part}": Place(f"style.{i + 1}.{part}")
        for i in range(config.mapping_layers)
        for part in ("weight", "bias")
    }
    places["synthesis.const"] = Place("input.input", before=1)
    for k in range(config.doublings + 1):
        ours = f"synthesis.blocks.{k}"
        convs = {"conv1": "conv1"} if k == 0 else {"conv0": f"convs.{2 * k - 2}", "conv1": f"convs.{2 * k - 1}"}
        for conv, theirs in convs.items():
            places |= _modulated(f"{ours}.{conv}", theirs)
            places[f"{ours}.{conv}.bias"] = Place(f"{theirs}.activate.bias")
            places[f"{ours}.{conv}.noise.strength"] = Place(f"{theirs}.noise.weight", before=1)
            noise = f"noises.noise_{0 if k == 0 else 2 * k - 1 + (conv == 'conv1')}"
            places[f"{ours}.{conv}.noise.fixed"] = Place(noise, before=2)
        theirs = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        places |= _modulated(f"{ours}.rgb", theirs)
        places[f"{ours}.rgb.bias"] = Place(f"{theirs}.bias", before=1, after=2)
    return places


def discriminator_places(config: DiscriminatorConfig) -> dict[str, Place]:
    """Our name -> place for every tensor of a discriminator."""
    places = {"from_rgb.weight": Place("convs.0.0.weight"), "from_rgb.bias": Place("convs.0.1.bias")}
    for i in range(config.doublings):
        ours, theirs = f"blocks.{i}", f"convs.{i + 1}"
        places[f"{ours}.conv0.weight"] = Place(f"{theirs}.conv1.0.weight")
        places[f"{ours}.conv0.bias"] = Place(f"{theirs}.conv1.1.bias")
        places[f"{ours}.conv1.weight"] = Place(f"{theirs}.conv2.1.weight")
        places[f"{ours}.conv1.bias"] = Place(f"{theirs}.conv2.2.bias")
        places[f"{ours}.skip.weight"] = Place(f"{theirs}.skip.1.weight")
    places |= {"tail.conv.weight": Place("final_conv.0.weight"), "tail.conv.bias": Place("final_conv.1.bias")}
    for i, ours in enumerate(("tail.fc", "tail.out")):
        places |= {f"{ours}.{part}": Place(f"final_linear.{i}.{part}") for part in ("weight", "bias")}
    return places


def filters(network: nn.Module) -> dict[str, Tensor]:
    """The low-pass filters that its state dict repeats for every resampling layer; a generator's have gain 4."""
    f = blur(torch.device("cpu"))
    steps = range(network.config.doublings)  # type: ignore[union-attr,arg-type]
    if isinstance(network, Discriminator):
        names = [f"convs.{i + 1}.{branch}.0.kernel" for i in steps for branch in ("conv2", "skip")]
        return {name: f.clone() for name in names}
    names = [name for i in steps for name in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel")]
    return {name: 4 * f for name in names}  # noqa: C420 (each its own, as in a module)


def _modulated(ours: str, theirs: str) -> dict[str, Place]:
    return {
        f"{ours}.conv.weight": Place(f"{theirs}.conv.weight", before=1),
        f"{ours}.affine.weight": Place(f"{theirs}.conv.modulation.weight"),
        f"{ours}.affine.bias": Place(f"{theirs}.conv.modulation.bias"),
    }
