"""What the names in pickles of `torch.save` stand for: tensors, and plain data in the place of everything else.

A storage, numbers in a row, is read from the file right into the memory of its tensors, and only once it is known
that the file has as many numbers as it claims.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from system.pickles import Built, Makers, Name, read_pickle
from system.pickles import key as checked_key
from system.text import shown
from system.windows import Window

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # with which files of the format before 1.6 begin
_MOST_DIMENSIONS = 8
_LARGEST = 2**48
_MOST_ITEMS = 2**20  # of dicts that are made of lists
_FEW = 100  # instructions that pickles around the contents have at most

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Budget:
    """How many bytes may still be made. A file that makes more than it holds uses some many times over."""

    def __init__(
        self, size: int, reason: str = "it makes more of its bytes than there are, by using some many times"
    ) -> None:
        self.left, self._reason = size, reason

    def spend(self, size: int) -> None:
        """Raises ValueError with the reason when nothing is left."""
        self.left -= size
        if self.left < 0:
            raise ValueError(self._reason)


@dataclass(frozen=True)
class Storage:
    """Numbers in a row."""

    tensor: Tensor  # [count]

    def fill(self, read_into: Callable[[memoryview], None], order: str = "little") -> None:
        """Reads the numbers, which are in the byte order `little` or `big`."""
        numbers = self.tensor.view(torch.uint8).numpy()
        read_into(numbers.data)
        if order != sys.byteorder and self.tensor.element_size() > 1:
            numbers.view(f"u{self.tensor.element_size()}").byteswap(inplace=True)
        if self.tensor.dtype == torch.bool:
            numbers.clip(max=1, out=numbers)


class Options(Built):
    """Stands for `argparse.Namespace`, in which training scripts keep their options: they are not looked at."""

    def build(self, state: Any) -> None:
        """Forgets them."""


class Storages:
    """The storages that a pickle names, each made once.

    Args:
        size: bytes where their numbers are, the most that one can take.
        budget: of bytes that they take in all.
        made: is called with the name and each new storage.
    """

    def __init__(self, size: int, budget: Budget, made: Callable[[str, Storage], None]) -> None:
        self.known: dict[str, Storage] = {}
        self._size, self._budget, self._made = size, budget, made

    def named(self, identifier: Any) -> Storage:
        """What a persistent identifier stands for."""
        parts = identifier if isinstance(identifier, tuple) and len(identifier) in (5, 6) else (None,) * 5
        what, kind, key, _, count, *views = parts
        if (
            not (isinstance(what, str) and what == "storage" and isinstance(kind, Name) and isinstance(key, str))
            or kind.name not in STORAGES
            or type(count) is not int
            or count < 0
            or any(view is not None for view in views)
        ):
            raise ValueError("it is damaged (a tensor's numbers are somewhere else)")
        dtype = STORAGES[kind.name]
        if count * dtype.itemsize > self._size:
            raise ValueError(f"it is damaged (a tensor claims {count:,} numbers, which are not there)")
        if key not in self.known:
            self._budget.spend(count * dtype.itemsize)
            self.known[key] = storage = Storage(torch.empty(count, dtype=dtype))
            self._made(key, storage)
        found = self.known[key]
        if found.tensor.dtype != dtype or len(found.tensor) != count:
            raise ValueError("it is damaged (a tensor's numbers are said to be two things)")
        return found


def read_legacy(window: Window, makers: Makers, budget: Budget) -> Any:
    """What `torch.save` wrote before PyTorch 1.6, up to the end of the window: five pickles, then the storages.

    Raises:
        ValueError: when it is damaged, or asks for what is not among `makers`.
    """
    start = [read_pickle(window, {}, most=_FEW) for _ in range(3)]
    if start[:2] != [_MAGIC, _PROTOCOL] or not isinstance(start[2], dict) or start[2].get("little_endian") is not True:
        raise ValueError("it has a tensor's numbers in a form that is not known")
    storages = Storages(len(window), budget, lambda key, storage: None)
    found = read_pickle(window, makers, storages.named)
    keys = read_pickle(window, {})
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise ValueError("it is damaged (the list of its tensors is not one)")
    if set(keys) != storages.known.keys():
        raise ValueError("it is damaged (the list of its tensors is another)")
    for key in keys:
        storage = storages.known[key]
        if int.from_bytes(window.read(8), "little") != len(storage.tensor) or storage.tensor.nbytes > window.left:
            raise ValueError(f"it is damaged (a tensor claims {len(storage.tensor):,} numbers, which are not there)")
        storage.fill(window.read_into)
    if window.left:
        raise ValueError(f"it is damaged ({window.left:,} bytes follow its tensors)")
    return found


def torch_makers() -> Makers:
    """All names that a file of `torch.save` may contain, and what they make. For one reading each."""
    items = Budget(_MOST_ITEMS, "it has dicts with more items than any file of weights needs")
    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): lambda *arguments: _ordered_dict(items, *arguments),
        ("argparse", "Namespace"): Options,
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch", "device"): lambda *_: None,
        ("torch", "Size"): lambda *_: None,
    }
    return table | dict.fromkeys(storage_names(), never)


def storage_names() -> list[tuple[str, str]]:
    """What pickles call the kinds of storages."""
    return [("torch", name) for name in STORAGES]


def tensor(numbers: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A tensor of some of the numbers of a storage, however often it uses them."""
    if not (isinstance(numbers, Storage) and are_counts(size) and are_counts(stride) and are_counts((offset,))):
        raise ValueError("it is damaged (a tensor is not made of numbers)")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False)) if prod(size) else 0
    largest = prod(max(n, 1) for n in size)  # as even empty tensors are counted
    if len(size) != len(stride) or last >= max(len(numbers.tensor), 1) or largest >= _LARGEST:
        raise ValueError(f"it is damaged (a tensor of shape {shown(size)} has only {len(numbers.tensor):,} numbers)")
    return numbers.tensor.as_strided(size, stride, offset if prod(size) else 0)


def parameter(data: Any, *rest: Any) -> Tensor:
    """The tensor of a parameter."""
    if not isinstance(data, Tensor):
        raise ValueError(f"it is damaged (a parameter is {shown(data)})")
    return data


def are_counts(values: Any) -> bool:
    """Whether these are whole numbers from 0, a tuple of a few."""
    return (
        isinstance(values, tuple)
        and len(values) <= _MOST_DIMENSIONS
        and all(type(value) is int and 0 <= value < _LARGEST for value in values)
    )


def _ordered_dict(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    """A dict, which Python 2 made of a list of its items."""
    pairs = pairs if isinstance(pairs, list | tuple) else [None]
    budget.spend(len(pairs))
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("it is damaged (a dict is not made of items)")
    return {checked_key(name): value for name, value in pairs}


def empty_dict() -> dict[Any, Any]:
    """What every kind of dict begins with."""
    return {}


def never(*arguments: Any) -> Any:
    """For names that are not called."""
    raise ValueError("it is damaged (it calls what it should only name)")
