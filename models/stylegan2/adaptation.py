"""A trained network's tensors for a network with other classes, image channels or image size.

Tensors that both networks have are copied. If possible, the new network first computes what the old one did: the old
images upsampled, in gray, or the same for each class. Other tensors keep their initial values.
"""

from math import sqrt

import torch
from torch import Tensor

from imaging.sizes import spell
from models.stylegan2.config import ImageConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.layers import pixel_norm
from models.stylegan2.mapping import MappingNetwork

Adapted = tuple[dict[str, Tensor], list[str]]  # a state_dict, and what differs, in words


def conversion(source: int, dest: int) -> tuple[Tensor, Tensor]:
    """The affine map M x + o of pixels in [-1, 1] between 1, 3 and 4 channels: M [dest, source] and o [dest].

    Gray becomes three equal channels, color its mean. A new alpha channel is opaque (1), and an old one is dropped.
    """
    if source == dest:
        return torch.eye(source), torch.zeros(source)
    to_rgb = torch.ones(3, 1) if source == 1 else torch.eye(3, source)
    from_rgb = torch.full([1, 3], 1 / 3) if dest == 1 else torch.eye(dest, 3)
    return from_rgb @ to_rgb, torch.tensor([0.0, 0.0, 0.0, 1.0] if dest == 4 else [0.0] * dest)


@torch.no_grad()
def adapt_generator(theirs: Generator, ours: Generator) -> Adapted:
    """The state of `ours` with the tensors of `theirs`. The networks must have no `misfits`."""
    old, new = theirs.state_dict(), {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    a, b = theirs.config, ours.config
    shared = min(a.doublings, b.doublings)
    _adapt_latents(theirs.mapping, ours.mapping, new)
    new["synthesis.const"] = old["synthesis.const"]
    for key in new:
        if key.startswith("synthesis.blocks.") and int(key.split(".")[2]) <= shared:
            new[key] = old[key]
    M, offset = conversion(a.channels, b.channels)
    for rgb in [key.removesuffix(".bias") for key in new if key.endswith("rgb.bias")]:
        if int(rgb.split(".")[2]) <= shared:
            new[f"{rgb}.conv.weight"] = torch.einsum("oi, ic... -> oc...", M, old[f"{rgb}.conv.weight"])
            new[f"{rgb}.bias"] = M @ old[f"{rgb}.bias"]
        else:  # adds nothing at first to the upsampled image
            new[f"{rgb}.conv.weight"].zero_()
            new[f"{rgb}.bias"].zero_()
    new[f"synthesis.blocks.{b.doublings}.rgb.bias"] += offset
    return new, _changes(a, b)


def _adapt_latents(theirs: MappingNetwork, ours: MappingNetwork, state: dict[str, Tensor]) -> None:
    """Adapt the mapping network of a generator. Its first layer reads z and then the embedding of the class."""
    old = {f"mapping.{key}": tensor for key, tensor in theirs.state_dict().items()}
    first, z_dim = "mapping.layers.0.weight", ours.z_dim
    for key, tensor in old.items():
        if key != first and key in state and state[key].shape == tensor.shape:
            state[key] = tensor
    # The gain of the layer depends on its number of inputs, which classes change.
    weight = old[first] * sqrt(state[first].shape[1] / old[first].shape[1])
    state[first][:, :z_dim] = weight[:, :z_dim]
    if theirs.embed is not None and ours.embed is not None:
        state[first][:, z_dim:] = weight[:, z_dim:]
    elif ours.embed is not None:
        state[first][:, z_dim:] = 0  # every class starts as the network without classes
    elif theirs.embed is not None:
        layer = theirs.layers[0]
        means = pixel_norm(theirs.embed(torch.eye(theirs.classes))).mean(dim=0)  # [w_dim], of all classes
        reached = old[first][:, z_dim:] @ means * layer.weight_gain
        state["mapping.layers.0.bias"] = old["mapping.layers.0.bias"] + reached / layer.bias_gain


@torch.no_grad()
def adapt_discriminator(theirs: Discriminator, ours: Discriminator) -> Adapted:
    """The state of `ours` with the tensors of `theirs`. The networks must have no `misfits`."""
    old, new = theirs.state_dict(), {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    a, b = theirs.config, ours.config
    shift = b.doublings - a.doublings  # the first block has the largest size
    for key in old:
        head, *rest = key.split(".")
        if head == "blocks" and (number := int(rest[0]) + shift) >= 0:
            new[".".join([head, str(number), *rest[1:]])] = old[key]
        elif head == "tail" and new[key].shape == old[key].shape:
            new[key] = old[key]
    if shift == 0:
        M, offset = conversion(b.channels, a.channels)
        gain = sqrt(b.channels / a.channels)
        for name in [key.removesuffix(".weight") for key in old if key.endswith("from_rgb.weight")]:
            weight = old[f"{name}.weight"]
            new[f"{name}.weight"] = torch.einsum("oi..., ij -> oj...", weight, M) * gain
            reached = torch.einsum("oikl, i -> o", weight, offset) * theirs.from_rgb.weight_gain
            new[f"{name}.bias"] = old[f"{name}.bias"] + reached
    # The projection on the class, and the layer before it.
    if ours.mapping is not None and theirs.mapping is not None:
        new |= {key: old[key] for key in old if key.startswith("mapping.") and new[key].shape == old[key].shape}
    elif theirs.mapping is not None:
        vectors = theirs.mapping(None, torch.eye(theirs.config.classes))  # [classes, width]
        mean = vectors.mean(dim=0) / sqrt(vectors.shape[1])  # the score is linear in the vector
        new["tail.out.weight"] = mean[None] @ old["tail.out.weight"]
        new["tail.out.bias"] = (mean @ old["tail.out.bias"])[None]
    return new, _changes(a, b)


Misfits = dict[str, tuple[object, object]]  # dotted name of a setting -> their value and ours


def misfits(kind: str, theirs: ImageConfig, ours: ImageConfig) -> Misfits:
    """The settings that `ours` must take from `theirs` so that shared layers have equal shapes.

    `kind` is generator or discriminator. Raises ValueError if no setting helps, as for images of another shape.
    """
    sizes = [spell(config.height, config.width) for config in (theirs, ours)]
    if theirs.base != ours.base:
        raise ValueError(
            f"its images of {sizes[0]} are doublings of {spell(*theirs.base)}, and images of {sizes[1]} of "
            f"{spell(*ours.base)}: crop or pad the images to the same shape"
        )
    size = ("height", "width", "channels", "classes", "clamp", "mbstd_group", "channel_base", "channel_max")
    # Without classes a discriminator has no mapping network.
    idle = ("mapping_layers",) if kind == "discriminator" and not (theirs.classes and ours.classes) else ()
    names = [name for name in type(theirs).model_fields if name not in size + idle]
    names = [name for name in names if getattr(theirs, name) != getattr(ours, name)]
    grows = {"generator": ("skip",), "discriminator": ("residual", "plain")}[kind]
    architecture = getattr(theirs, "architecture", grows[0])
    if "architecture" not in names and theirs.doublings != ours.doublings and architecture not in grows:
        raise ValueError(
            f"a {kind} of the {architecture} architecture cannot change its size from {sizes[0]} to {sizes[1]}: "
            f"take images of {sizes[0]}"
        )
    shared = range(min(theirs.doublings, ours.doublings) + 1)
    if any(theirs.channels_at(k) != ours.channels_at(k) for k in shared):
        names += [name for name in ("channel_base", "channel_max") if getattr(theirs, name) != getattr(ours, name)]
    return {f"{kind}.{name}": (getattr(theirs, name), getattr(ours, name)) for name in names}


def differing(found: Misfits) -> str:
    """`its generator.w_dim is 8, but this run has 4: use --set generator.w_dim=8`; likewise for several settings."""
    names = ", ".join(f"its {name} is {theirs}, but this run has {ours}" for name, (theirs, ours) in found.items())
    return f"{names}: use {' '.join(f'--set {name}={theirs}' for name, (theirs, _) in found.items())}"


def _changes(theirs: ImageConfig, ours: ImageConfig) -> list[str]:
    """The differences between two networks without `misfits`, in words."""
    found = []
    if theirs.doublings != ours.doublings:
        sizes = [spell(config.height, config.width) for config in (ours, theirs)]
        found.append(f"images of {' instead of '.join(sizes)}")
    if theirs.channels != ours.channels:
        found.append(f"{ours.channels} channels instead of {theirs.channels}")
    if theirs.classes != ours.classes:
        found.append(f"{ours.classes or 'no'} classes instead of {theirs.classes or 'none'}")
    return found
