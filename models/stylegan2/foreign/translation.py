"""Names and shapes of tensors in other programs, by tables of rules that turn our names into theirs.

A rule is a pattern in our name and its replacement: a template, or a function of the numbers in the pattern's groups.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from system.text import printable, shown

Rules = Sequence[tuple[str, str | Callable[..., str]]]
Shapes = Mapping[str, tuple[int, ...]]

SAMPLES = 10_240  # their mean is off by a hundredth of the spread of w
BATCH = 1_024
MOST_PRODUCTS = SAMPLES * 2**23  # a few seconds of one core: all samples of a mapping of 8 layers of width 1024


def translated(names: Iterable[str], rules: Rules) -> dict[str, str]:
    """Their name -> ours, for each of our names. Every rule is applied in turn."""
    return {_translated(name, rules): name for name in names}


def official_names(network: nn.Module) -> dict[str, str]:
    """The name in the official StyleGAN2-ADA networks -> ours, for every tensor. Shapes and values are the same."""
    top: int = 4 << network.config.doublings  # type: ignore[union-attr,operator,assignment]
    rules: Rules = (
        (r"\.layers\.", ".fc"),
        ("w_average", "w_avg"),
        (r"synthesis\.const", "synthesis.b4.const"),
        (r"synthesis\.blocks\.(\d+)", lambda k: f"synthesis.b{4 << k}"),
        (r"^blocks\.(\d+)", lambda i: f"b{top >> i}"),
        ("^from_rgb", f"b{top}.from_rgb"),
        ("^tail", "b4"),
        ("from_rgb", "fromrgb"),
        (r"\.rgb\.", ".torgb."),
        (r"(conv\d|torgb)\.conv", r"\1"),
        (r"noise\.strength", "noise_strength"),
        (r"noise\.fixed", "noise_const"),
    )
    return translated(network.state_dict(), rules)


def shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor. Raises ValueError if the file has no such tensor, or one of other dimensions."""
    if name not in shapes:
        raise ValueError(f"it has no tensor {name}, which every such network has")
    shape = tuple(shapes[name])
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"its {name} has shape {shown(list(shape))}, expected {dimensions} dimensions")
    return shape


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str], network: nn.Module) -> dict[str, Tensor]:
    """A file's tensors under our names, each checked against the network that has these names.

    Args:
        tensors: by their names; their shapes may have further axes of length 1.
        names: their name -> ours.
        network: on any device.

    Raises:
        ValueError: if tensors are missing, left over, of another shape or no floating-point numbers.
    """
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if missing := sorted(names.keys() - tensors.keys()):
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := sorted(tensors.keys() - names.keys()):
        raise ValueError(f"{len(extra)} tensors have no place in this network, the first is {printable(extra[0], 80)}")
    for theirs, ours in names.items():
        found, expected = list(tensors[theirs].shape), list(shapes[ours])
        if [n for n in found if n != 1] != [n for n in expected if n != 1]:
            raise ValueError(f"its {theirs} has shape {shown(found)}, expected {expected}")
        if not tensors[theirs].is_floating_point():
            raise ValueError(f"its {theirs} is of {tensors[theirs].dtype}, expected floating-point numbers")
    return {ours: tensors[theirs].reshape(shapes[ours]) for theirs, ours in names.items()}


@torch.no_grad()
def average_w(mapping: Callable[[Tensor], Tensor], z_dim: int, weights: int) -> tuple[Tensor, str]:
    """The mean of w [w_dim] over latents of a fixed seed, and a description of it for the metadata.

    Very large mapping networks, by their number of `weights`, get fewer latents.
    """
    batches = max(1, min(SAMPLES, MOST_PRODUCTS // weights) // BATCH)
    source = torch.Generator().manual_seed(0)
    means = [mapping(torch.randn(BATCH, z_dim, generator=source)).mean(dim=0) for _ in range(batches)]
    return torch.stack(means).mean(dim=0), f"mean of {batches * BATCH} mapped latents"


def _translated(name: str, rules: Rules) -> str:
    for pattern, theirs in rules:
        if isinstance(theirs, str):
            name = re.sub(pattern, theirs, name)
        elif found := re.search(pattern, name):
            name = name[: found.start()] + theirs(*map(int, found.groups())) + name[found.end() :]
    return name
