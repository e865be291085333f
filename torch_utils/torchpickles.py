"""Makes tensors and plain data of the names in pickles of `torch.save`.

Memory for a tensor is allocated only if the file has as many numbers as the tensor claims.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import torch
from torch import Tensor

from system.pickles import Built, Makers, Name, read_pickle
from system.pickles import key as checked_key
from system.text import shown

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first values of files before PyTorch 1.6
_MOST_DIMENSIONS = 8
_LARGEST = 2**48
_MOST_ITEMS = 2**20  # of all dicts that are made of lists
_FEW = 100  # instructions of the pickles before the contents

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
    """A limit of bytes or items. A file that exceeds the limit uses some of its bytes many times."""

    def __init__(self, size: int, reason: str = "it uses some of its bytes many times") -> None:
        self.left, self._reason = size, reason

    def spend(self, size: int) -> None:
        """Take `size` from the limit. Raises ValueError with the reason if it is exceeded."""
        self.left -= size
        if self.left < 0:
            raise ValueError(self._reason)


@dataclass(frozen=True)
class Storage:
    """The numbers of one or more tensors."""

    tensor: Tensor  # [count]

    def fill(self, file: Any) -> None:
        """Read the numbers from a file."""
        numbers = self.tensor.view(torch.uint8).numpy()
        done = 0
        while done < len(numbers):
            part = file.read(min(len(numbers) - done, 2**24))
            if not part:
                raise ValueError("it is cut short or damaged (the numbers of a tensor end too early)")
            numbers.data[done : done + len(part)] = part
            done += len(part)
        if self.tensor.dtype == torch.bool:
            numbers.clip(max=1, out=numbers)


class TensorOptions(Built):
    """Replaces `argparse.Namespace`, in which training scripts save their options. The options are ignored."""

    def build(self, state: Any) -> None:
        """Ignore them."""


class Storages:
    """The storages of a file, each made once.

    Args:
        size: largest number of bytes of a storage.
        budget: of bytes of all storages.
        made: called with the name of each new storage and the storage.
    """

    def __init__(self, size: int, budget: Budget, made: Callable[[str, Storage], None]) -> None:
        self.known: dict[str, Storage] = {}
        self._size, self._budget, self._made = size, budget, made

    def named(self, identifier: Any) -> Storage:
        """Return the storage of a persistent identifier."""
        parts = identifier if isinstance(identifier, tuple) and len(identifier) in (5, 6) else (None,) * 5
        what, kind, key, _, count, *views = parts
        if (
            not (isinstance(what, str) and what == "storage" and isinstance(kind, Name) and isinstance(key, str))
            or kind.name not in STORAGES
            or type(count) is not int
            or count < 0
            or any(view is not None for view in views)
        ):
            raise ValueError("it is damaged (a tensor does not name its numbers)")
        dtype = STORAGES[kind.name]
        if count * dtype.itemsize > self._size:
            raise ValueError(f"it is damaged (a tensor claims {count:,} numbers, which are missing)")
        if key not in self.known:
            self._budget.spend(count * dtype.itemsize)
            self.known[key] = storage = Storage(torch.empty(count, dtype=dtype))
            self._made(key, storage)
        found = self.known[key]
        if found.tensor.dtype != dtype or len(found.tensor) != count:
            raise ValueError("it is damaged (two tensors contradict each other about their numbers)")
        return found


def read_legacy(file: BinaryIO | mmap.mmap, size: int, makers: Makers, budget: Budget) -> Any:
    """Read a file of `torch.save` before PyTorch 1.6 up to its end: five pickles, then the storages.

    Args:
        file: the file; see `read_pickle`.
        size: its bytes.
        makers: all allowed names.
        budget: of bytes of all storages.

    Raises:
        ValueError: if it is damaged, or contains a name that is not allowed.
    """
    start = [read_pickle(file, {}, most=_FEW) for _ in range(3)]
    if start[:2] != [_MAGIC, _PROTOCOL] or not isinstance(start[2], dict) or start[2].get("little_endian") is not True:
        raise ValueError("it has the numbers of a tensor in an unknown form")
    storages = Storages(size, budget, lambda key, storage: None)
    found = read_pickle(file, makers, storages.named)
    keys = read_pickle(file, {})
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it is damaged (the list of its tensors is not a list of names)")
    if sorted(keys) != sorted(storages.known):
        raise ValueError("it is damaged (the list of its tensors does not match its tensors)")
    for key in keys:
        storage = storages.known[key]
        if int.from_bytes(file.read(8), "little") != len(storage.tensor):
            raise ValueError(f"it is damaged (a tensor claims {len(storage.tensor):,} numbers, which are missing)")
        storage.fill(file)
    if file.read(1):
        raise ValueError("it is damaged (bytes follow its tensors)")
    return found


def torch_makers() -> Makers:
    """Return all names that a file of `torch.save` may contain, with their functions; a new table for each file."""
    items = Budget(_MOST_ITEMS, "its dicts have more items than any file of weights needs")
    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): lambda *arguments: _ordered_dict(items, *arguments),
        ("argparse", "Namespace"): TensorOptions,
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch", "device"): lambda *_: None,
        ("torch", "Size"): lambda *_: None,
    }
    return table | dict.fromkeys(storage_names(), never)


def storage_names() -> list[tuple[str, str]]:
    """Return the names of storages in pickles."""
    return [("torch", name) for name in STORAGES]


def tensor(numbers: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """Return a view of a storage, which may use numbers more than once."""
    if not (isinstance(numbers, Storage) and are_counts(size) and are_counts(stride) and are_counts((offset,))):
        raise ValueError("it is damaged (a tensor has no numbers)")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False)) if prod(size) else 0
    largest = prod(max(n, 1) for n in size)  # PyTorch checks the size of empty tensors, too
    if len(size) != len(stride) or last >= max(len(numbers.tensor), 1) or largest >= _LARGEST:
        raise ValueError(f"it is damaged (a tensor of shape {shown(size)} has only {len(numbers.tensor):,} numbers)")
    return numbers.tensor.as_strided(size, stride, offset if prod(size) else 0)


def parameter(data: Any, *rest: Any) -> Tensor:
    """Return the tensor of a parameter."""
    if not isinstance(data, Tensor):
        raise ValueError(f"it is damaged (a parameter is {shown(data)})")
    return data


def are_counts(values: Any) -> bool:
    """Whether a value is a short tuple of whole numbers >= 0."""
    return (
        isinstance(values, tuple)
        and len(values) <= _MOST_DIMENSIONS
        and all(type(value) is int and 0 <= value < _LARGEST for value in values)
    )


def _ordered_dict(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    """Return a dict, which Python 2 pickled as a list of its items."""
    pairs = pairs if isinstance(pairs, list | tuple) else [None]
    budget.spend(len(pairs))
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("it is damaged (a dict is not made of pairs)")
    return {checked_key(name): value for name, value in pairs}


def empty_dict() -> dict[Any, Any]:
    """Return an empty dict, for any kind of dict."""
    return {}


def never(*arguments: Any) -> Any:
    """Refuse to be called: for names that are only arguments."""
    raise ValueError("it is damaged (it calls a name that is only an argument)")
