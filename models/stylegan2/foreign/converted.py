"""Reading the networks of a foreign file one by one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from system.text import printable

_Read = TypeVar("_Read")


def read_networks(names: Sequence[str], read: Callable[[str], _Read]) -> tuple[dict[str, _Read], dict[str, Any]]:
    """The networks of a file, and what its `source` is to say of those left out.

    If the file's discriminator has another architecture, it is skipped as long as there is a generator: most users only
    want the generator, and many forks changed only D.

    Args:
        names: of G_ema, G and D those that the file has.
        read: of a name; raises ValueError with the reason where the network cannot be built here.

    Raises:
        ValueError: that of `read`, of a generator or of a lone discriminator.
    """
    parts: dict[str, _Read] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            parts[name] = read(name)
        except ValueError as error:
            if name != "D" or len(names) == 1:
                raise
            left_out[name] = printable(str(error))
    return parts, {"left_out": left_out} if left_out else {}


def length(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """The length of an axis of a tensor. Raises ValueError when the file has no such tensor."""
    if name not in tensors or tensors[name].ndim <= axis or not tensors[name].numel():
        raise ValueError(f"{name} is missing")
    return tensors[name].shape[axis]
