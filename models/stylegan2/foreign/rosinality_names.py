"""Names and shapes of tensors in rosinality/stylegan2-pytorch. The values are ours, in the same order."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.foreign import nvlabs
from models.stylegan2.layers import blur

# Axes of length 1 before and after ours, by their names; 0 and 0 for all others.
_AXES = {
    r"input\.input|.*\.noise\.weight|(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.conv\.weight": (1, 0),
    r"noises\.noise_\d+": (2, 0),
    r"(to_rgb1|to_rgbs\.\d+)\.bias": (1, 2),
}


def names(config: Any) -> dict[str, str]:
    """Our name -> theirs, for every tensor but the average w, which a file holds beside the state dicts."""
    return dict(_discriminator(config) if isinstance(config, DiscriminatorConfig) else _generator(config))


def official_names(config: Any) -> dict[str, str]:
    """Our name -> the official one."""
    kind = nvlabs.discriminator_names if isinstance(config, DiscriminatorConfig) else nvlabs.generator_names
    return {ours: theirs for theirs, ours in kind(config).items()}


def their_shape(theirs: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor in their file, from its name there and the shape of ours."""
    before, after = next((axes for pattern, axes in _AXES.items() if re.fullmatch(pattern, theirs)), (0, 0))
    return (1,) * before + tuple(ours) + (1,) * after


def plain(theirs: str, tensor: Tensor) -> Tensor:
    """A tensor of their file without the additional axes."""
    before, after = next((axes for pattern, axes in _AXES.items() if re.fullmatch(pattern, theirs)), (0, 0))
    for axis in [0] * before + [-1] * after:
        tensor = tensor.squeeze(axis)
    return tensor


def filters(network: nn.Module) -> dict[str, Tensor]:
    """The low-pass filters that a state dict repeats for every resampling layer; those of a generator have gain 4."""
    f = blur(torch.device("cpu"))
    steps = range(network.config.doublings)  # type: ignore[union-attr,arg-type]
    if isinstance(network, Discriminator):
        return {f"convs.{i + 1}.{branch}.0.kernel": f.clone() for i in steps for branch in ("conv2", "skip")}
    kernels = [name for i in steps for name in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel")]
    return {name: 4 * f for name in kernels}  # noqa: C420 (a tensor for each)


def _generator(config: GeneratorConfig) -> Iterator[tuple[str, str]]:
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            yield f"mapping.layers.{i}.{part}", f"style.{i + 1}.{part}"
    yield "synthesis.const", "input.input"
    for k in range(config.doublings + 1):
        ours = f"synthesis.blocks.{k}"
        convs = {"conv1": "conv1"} if k == 0 else {"conv0": f"convs.{2 * k - 2}", "conv1": f"convs.{2 * k - 1}"}
        for conv, theirs in convs.items():
            yield from _modulated(f"{ours}.{conv}", theirs)
            yield f"{ours}.{conv}.bias", f"{theirs}.activate.bias"
            yield f"{ours}.{conv}.noise.strength", f"{theirs}.noise.weight"
            yield f"{ours}.{conv}.noise.fixed", f"noises.noise_{0 if k == 0 else 2 * k - 1 + (conv == 'conv1')}"
        theirs = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        yield from _modulated(f"{ours}.rgb", theirs)
        yield f"{ours}.rgb.bias", f"{theirs}.bias"


def _modulated(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.conv.weight", f"{theirs}.conv.weight"
    for part in ("weight", "bias"):
        yield f"{ours}.affine.{part}", f"{theirs}.conv.modulation.{part}"


def _discriminator(config: DiscriminatorConfig) -> Iterator[tuple[str, str]]:
    layers = {"from_rgb": ("convs.0.0", "convs.0.1"), "tail.conv": ("final_conv.0", "final_conv.1")}
    for i in range(config.doublings):
        layers[f"blocks.{i}.conv0"] = (f"convs.{i + 1}.conv1.0", f"convs.{i + 1}.conv1.1")
        layers[f"blocks.{i}.conv1"] = (f"convs.{i + 1}.conv2.1", f"convs.{i + 1}.conv2.2")
        yield f"blocks.{i}.skip.weight", f"convs.{i + 1}.skip.1.weight"
    for i, name in enumerate(("tail.fc", "tail.out")):
        layers[name] = (f"final_linear.{i}", f"final_linear.{i}")
    for ours, (weight, bias) in layers.items():
        yield f"{ours}.weight", f"{weight}.weight"
        yield f"{ours}.bias", f"{bias}.bias"
