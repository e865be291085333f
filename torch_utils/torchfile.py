"""Reads files of `torch.save`, in both formats, without running any code. `torch.load` is not used.

Memory for a tensor is allocated only if the file has as many numbers as the tensor claims.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from system.pickles import LEGACY_TORCH, Makers, Name, key, read_pickle
from system.text import shown

MAGIC = b"PK\x03\x04"
LARGEST = 2**33  # bytes of a file: ten times a training checkpoint at 1024 x 1024
LONGEST = 2**21  # bytes of data.pkl, which names the tensors but does not hold them: five times the same
MOST_RECORDS = 2**16  # files in an archive
SHARING = 2  # how often a file may use each of its bytes for tensors, on average
_START = (0x1950A86A20F9469CFC6C, 1001)  # first values of files before PyTorch 1.6
_MOST_DIMENSIONS, _LARGEST_SIDE = 8, 2**48
_MOST_ITEMS = 2**20  # of all dicts that are made of lists
_FEW = 100  # instructions of the pickles before the contents
_CLAIMS = "it is damaged (its tensors claim more numbers than the file has)"
_DAMAGED = "it is damaged, or not a file of torch.save: download it again"

_DTYPES = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64"}
_DTYPES |= {"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"}
STORAGES = {f"{name}Storage": dtype for name, dtype in _DTYPES.items()}  # by their names in PyTorch


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

    tensor: torch.Tensor  # [count]


class Storages(dict[str, Storage]):
    """The storages of a file of `size` bytes, each made once; `made` is called with the name and tensor of each."""

    def __init__(self, size: int, made: Callable[[str, torch.Tensor], None] = lambda name, tensor: None) -> None:
        self._budget, self._made = Budget(size, _CLAIMS), made

    def named(self, identifier: Any) -> Storage:
        """Return the storage of a persistent identifier: "storage", type, name, device, count."""
        parts = identifier if isinstance(identifier, tuple) and len(identifier) in (5, 6) else (None,) * 5
        _, kind, name, _, count, *view = parts
        fits = isinstance(kind, Name) and kind.name in STORAGES and isinstance(name, str) and view in ([], [None])
        if not fits or type(count) is not int or count < 0:
            raise ValueError("it is damaged (a tensor does not name its numbers)")
        dtype = getattr(torch, STORAGES[kind.name])
        if name not in self:
            if count * dtype.itemsize > self._budget.left:
                raise _missing(count)
            self._budget.spend(count * dtype.itemsize)
            self[name] = Storage(torch.empty(count, dtype=dtype))
            self._made(name, self[name].tensor)
        if self[name].tensor.dtype != dtype or len(self[name].tensor) != count:
            raise ValueError("it is damaged (two tensors contradict each other about their numbers)")
        return self[name]


def begins_so(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a file of `torch.save`."""
    return head.startswith((MAGIC, LEGACY_TORCH))


def read(path: Path) -> Any:
    """Return the contents of a file of `torch.save`: nested dicts and lists, with tensors on the CPU.

    Raises ValueError with the reason, without the path, if it is damaged or contains something that is not allowed.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, more than the limit of {LARGEST >> 30} GiB")
    with path.open("rb") as file:
        if file.read(len(LEGACY_TORCH)) == LEGACY_TORCH:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return read_legacy(mapped, size, torch_makers())
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, size)
        except (zipfile.BadZipFile, OSError, EOFError, OverflowError, RuntimeError, NotImplementedError) as error:
            raise ValueError(_DAMAGED) from error


def read_legacy(file: BinaryIO | mmap.mmap, size: int, makers: Makers) -> Any:
    """Read a file of `torch.save` before PyTorch 1.6, of `size` bytes, up to its end: five pickles, then the storages.

    Raises ValueError if it is damaged, or contains a name that is not in `makers`.
    """
    *start, system = (read_pickle(file, {}, most=_FEW) for _ in range(3))
    if start != [*_START] or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it has the numbers of a tensor in an unknown form")
    storages = Storages(size)
    found = read_pickle(file, makers, storages.named)
    names = read_pickle(file, {})
    if not isinstance(names, list) or set(map(key, names)) != storages.keys():
        raise ValueError("it is damaged (the list of its tensors does not match its tensors)")
    for name in names:
        tensor = storages[name].tensor
        if int.from_bytes(file.read(8), "little") != len(tensor):
            raise _missing(len(tensor))
        _fill(tensor, file.read(tensor.nbytes))
    if file.read(1):
        raise ValueError("it is damaged (bytes follow its tensors)")
    return found


def torch_makers() -> Makers:
    """Return all names that a file of `torch.save` may contain, with their functions; a new table for each file."""
    items = Budget(_MOST_ITEMS, "its dicts have more items than any file of weights needs")
    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): lambda *arguments: _ordered_dict(items, *arguments),
        ("argparse", "Namespace"): empty_dict,  # the options of training scripts, which are ignored
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch", "device"): lambda *_: None,
        ("torch", "Size"): lambda *_: None,
    }
    return table | storage_makers()


def storage_makers() -> dict[tuple[str, str], Callable[..., Any]]:
    """Return the names of storages, which are only arguments."""
    return {("torch", name): never for name in STORAGES}


def tensor(numbers: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> torch.Tensor:
    """Return a view of a storage, which may use numbers more than once."""
    if not (isinstance(numbers, Storage) and are_counts(size) and are_counts(stride) and are_counts((offset,))):
        raise ValueError("it is damaged (a tensor has no numbers)")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False)) if prod(size) else 0
    largest = prod(max(n, 1) for n in size)  # PyTorch checks the size of empty tensors, too
    if len(size) != len(stride) or last >= max(len(numbers.tensor), 1) or largest >= _LARGEST_SIDE:
        raise ValueError(f"it is damaged (a tensor of shape {shown(size)} has only {len(numbers.tensor):,} numbers)")
    return numbers.tensor.as_strided(size, stride, offset if prod(size) else 0)


def parameter(data: Any, *rest: Any) -> Any:
    """Return what should be the tensor of a parameter."""
    return data


def are_counts(values: Any) -> bool:
    """Whether a value is a short tuple of whole numbers >= 0."""
    fits = isinstance(values, tuple) and len(values) <= _MOST_DIMENSIONS
    return fits and all(type(value) is int and 0 <= value < _LARGEST_SIDE for value in values)


def empty_dict() -> dict[Any, Any]:
    """Return an empty dict, for any kind of dict."""
    return {}


def never(*arguments: Any) -> Any:
    """Refuse to be called: for names that are only arguments."""
    raise ValueError("it is damaged (it calls a name that is only an argument)")


def plain_tensors(found: Any, what: str, most: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a state dict that `read` found under the name `what` in a file of `most` bytes.

    Raises ValueError if it is not a dict of dense CPU tensors, or uses the bytes of the file more than twice.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) and name.isprintable() for name in found):
        raise ValueError(f"its {what} is not a table of tensors")
    for name, value in found.items():
        plain = isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.layout == torch.strided
        plain = plain and not value.is_quantized and not value.is_complex()
        if not plain or value.nbytes > value.untyped_storage().nbytes():  # an expanded tensor
            raise ValueError(f"{shown(name)} in its {what} is not a plain tensor")
    if sum(value.nbytes for value in found.values()) > SHARING * most:
        raise ValueError(f"the tensors of its {what} are larger than the file")
    return {name: value.detach() for name, value in found.items()}


def _read_archive(archive: zipfile.ZipFile, size: int) -> Any:
    records = archive.infolist()
    if len(records) > MOST_RECORDS:
        raise ValueError(f"its archive has more than {MOST_RECORDS:,} files, the limit")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its archive is compressed, unlike archives of torch.save")
    for record in records:
        if not record.CRC:
            del record.CRC  # it was saved without checksums, and zipfile shall check none
    folder = _folder([record.filename for record in records])
    known = {record.filename.removeprefix(folder): record for record in records}
    if len(known) < len(records):
        raise ValueError("its archive has two files of one name")
    if known["data.pkl"].file_size > LONGEST:
        raise ValueError(f"its data.pkl is longer than {LONGEST >> 20} MiB")
    if "byteorder" in known and (known["byteorder"].file_size != 6 or archive.read(known["byteorder"]) != b"little"):
        raise ValueError(_DAMAGED)

    def fill(name: str, tensor: torch.Tensor) -> None:
        record = known.get(f"data/{name}")
        if record is None or record.file_size != tensor.nbytes:
            raise _missing(len(tensor))
        _fill(tensor, archive.read(record))

    pickle = io.BytesIO(archive.read(known["data.pkl"]))
    found = read_pickle(pickle, torch_makers(), Storages(size, fill).named)
    if pickle.read(1):
        raise ValueError("it is damaged (bytes follow the end of its pickle)")
    return found


def _folder(names: list[str]) -> str:
    """Return the folder of all files in an archive, with a slash at its end: the folder of data.pkl."""
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any(name.endswith("/archive_format") for name in names) and len(found) != 1:
        raise ValueError("it is a graph of torch.export, expected weights: give the network that was exported")
    if len(found) != 1:
        raise ValueError("it is an archive without the data.pkl of torch.save")
    if any(name.endswith("/constants.pkl") for name in names):
        raise ValueError("it is a TorchScript program, expected weights")
    return found[0].removesuffix("data.pkl")


def _fill(tensor: torch.Tensor, numbers: bytes) -> None:
    if len(numbers) != tensor.nbytes:
        raise _missing(len(tensor))
    own = tensor.view(torch.uint8).numpy()
    own[:] = np.frombuffer(numbers, np.uint8)
    if tensor.dtype == torch.bool:
        own.clip(max=1, out=own)


def _missing(count: int) -> ValueError:
    return ValueError(f"it is damaged (a tensor claims {count:,} numbers, which are missing)")


def _ordered_dict(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    """Return a dict, which Python 2 pickled as a list of its items."""
    pairs = pairs if isinstance(pairs, list | tuple) else [None]
    budget.spend(len(pairs))
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("it is damaged (a dict is not made of pairs)")
    return {key(name): value for name, value in pairs}
