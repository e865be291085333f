"""The tensors of another program's file: their sizes, their names, and the average w if the file lacks it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from system.text import printable, shown

SAMPLES = 10_240  # their mean is off by a hundredth of the spread of w
BATCH = 1_024
MOST_PRODUCTS = SAMPLES * 2**23  # a few seconds of one core: all samples of a mapping of 8 layers of width 1024


def shape_of(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor. Raises ValueError if the file has no such tensor, or one of other dimensions."""
    if name not in tensors:
        raise ValueError(f"it has no tensor {name}, which every such network has")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"its {name} has shape {shown(list(shape))}, expected {dimensions} dimensions")
    return shape


def renamed(
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
    network: nn.Module,
    their_shape: Callable[[str, tuple[int, ...]], tuple[int, ...]] = lambda theirs, ours: ours,
) -> dict[str, Tensor]:
    """A file's tensors under our names, each checked against the network that has these names.

    Args:
        tensors: by their names.
        names: their name -> ours.
        network: on any device.
        their_shape: (their name, our shape) -> the shape in the file, which may have more axes of length 1.

    Raises:
        ValueError: if tensors are missing, left over, of another shape or no floating-point numbers.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if missing := sorted(names.keys() - tensors.keys()):
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := sorted(tensors.keys() - names.keys()):
        raise ValueError(f"{len(extra)} tensors have no place in this network, the first is {printable(extra[0], 80)}")
    for theirs, ours in names.items():
        tensor, expected = tensors[theirs], their_shape(theirs, shapes[ours])
        if tuple(tensor.shape) != expected:
            raise ValueError(f"its {theirs} has shape {shown(list(tensor.shape))}, expected {list(expected)}")
        if not tensor.is_floating_point():
            raise ValueError(f"its {theirs} is of {tensor.dtype}, expected floating-point numbers")
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
