"""What the names in official pickles stand for: tensors, arrays and records that do nothing.

This is the whole list of names that are accepted (`makers`). Tensors lie in pickles of their own within the pickle, as
`torch.save` once wrote them; those are looked through here before `torch.load` is given them.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.foreign.pickles import Built, Makers, Name, key, read_pickle, shown

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # with which files of torch.save began
_MOST_DIMENSIONS = 8

STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


@dataclass(frozen=True)
class Persistent:
    """A module of an official PyTorch network: what it was called and what it held, but not its source."""

    class_name: str
    state: dict[Any, Any]
    source_sha256: str  # of the source that the file carries, which nobody looks at


@dataclass(frozen=True)
class Storage:
    """Numbers in a row."""

    tensor: Tensor


class TensorFlowNetwork(Built):
    """A network of the official TensorFlow implementation."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Takes the dict of what the network held."""
        if not isinstance(state, dict):
            raise ValueError(f"it is damaged (a network holds {shown(state)})")
        self.state = state


class NumberType(Built):
    """A NumPy type, whose byte order comes as its state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if code not in _NUMBERS:
            raise ValueError(f"it has numbers of the type {shown(code)}, which networks do not")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Takes (version, byte order, None, None, None, -1, -1, 0)."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
            raise ValueError("it has numbers of a composed type, which networks do not")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array(Built):
    """A NumPy array, which is made empty and gets its contents as its state."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        self.values: np.ndarray = np.zeros(0, np.float32)

    def build(self, state: Any) -> None:
        """Takes (version, shape, type, whether in Fortran's order, bytes)."""
        parts: tuple[Any, ...] = state if isinstance(state, tuple) and len(state) == 5 else (None,) * 5
        _, shape, kind, fortran, data = parts
        if not (isinstance(kind, NumberType) and isinstance(data, bytes) and _are_counts(shape)):
            raise ValueError("it is damaged (an array is not of numbers)")
        if prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"it is damaged (an array of shape {shown(shape)} comes with {len(data):,} bytes)")
        self.values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")


def makers(size: int) -> Makers:
    """All names that an official pickle of `size` bytes may contain, and what they make. For one reading each."""
    budget = _Budget(2 * size)  # bytes come from texts (protocol 2), and tensors from bytes, each once
    sources: dict[str, str] = {}  # hashed once each, however often they are named

    def persistent(meta: Any) -> Persistent:
        return _persistent(meta, sources)

    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): persistent,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch.storage", "_load_from_bytes"): lambda data: storage(data, budget.spend),
        ("collections", "OrderedDict"): _empty_dict,
        ("dnnlib.util", "EasyDict"): _empty_dict,
        ("dnnlib.tflib.network", "Network"): TensorFlowNetwork,
        ("numpy", "dtype"): NumberType,
        ("numpy", "ndarray"): _never,
        ("_codecs", "encode"): lambda text, code: _encode(text, code, budget.spend),
    }
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, "set"): _set, (builtins, "bytes"): _empty_bytes}
    for numpy in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table |= {(numpy, "_reconstruct"): Array, (numpy, "scalar"): _scalar}
    return table


class _Budget:
    """How many bytes may still be made. A file that makes more than it holds uses some many times over."""

    def __init__(self, size: int) -> None:
        self.left = size

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("it makes more of its bytes than there are, by using some many times")


def storage(data: Any, spend: Callable[[int], None]) -> Storage:
    """The numbers in what `torch.save` once made of a storage: five pickles, their count and they themselves."""
    if not isinstance(data, bytes):
        raise ValueError(f"it is damaged (a tensor's numbers are {shown(data)})")
    spend(len(data))
    dtype, count = _look_through(io.BytesIO(data), len(data))
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever remains that it finds wrong
        raise ValueError("it is damaged (a tensor's numbers cannot be read)") from error
    numbers = torch.empty(0, dtype=dtype)
    numbers.set_(loaded)
    assert len(numbers) == count, "as was found when looking through"
    return Storage(numbers)


def _look_through(stream: io.BytesIO, size: int) -> tuple[torch.dtype, int]:
    """Type and count of the numbers of a storage, of which nothing more is claimed than there is."""

    def persistent(identifier: Any) -> Any:
        if not isinstance(identifier, tuple) or len(identifier) != 6 or identifier[0] != "storage":
            raise ValueError("it is damaged (a tensor's numbers are somewhere else)")
        _, kind, _, _, count, view = identifier
        if not isinstance(kind, Name) or type(count) is not int or count < 0 or view is not None:
            raise ValueError("it is damaged (a tensor's numbers are somewhere else)")
        return STORAGES[kind.name], count

    names = {("torch", name): _never for name in STORAGES}
    start = [read_pickle(stream, {}, most=100) for _ in range(3)]
    if start[:2] != [_MAGIC, _PROTOCOL] or not isinstance(start[2], dict) or start[2].get("little_endian") is not True:
        raise ValueError("it has a tensor's numbers in a form that is not known")
    found = read_pickle(stream, names, persistent, most=100)
    read_pickle(stream, {}, most=100)  # the list of what comes
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], torch.dtype):
        raise ValueError("it is damaged (a tensor has no numbers)")
    dtype, count = found
    here = int.from_bytes(stream.read(8), "little")
    if here != count or size - stream.tell() != count * dtype.itemsize:
        raise ValueError(f"it is damaged (a tensor claims {count:,} numbers, which are not there)")
    return dtype, count


def tensor(numbers: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A tensor of some of the numbers, each of which it holds once."""
    if (
        not isinstance(numbers, Storage)
        or not _are_counts(size)
        or not _are_counts(stride)
        or not _are_counts((offset,))
    ):
        raise ValueError("it is damaged (a tensor is not made of numbers)")
    if len(size) != len(stride) or not _is_dense(size, stride):
        raise ValueError(f"it has a tensor of shape {shown(size)} that uses numbers more than once, or leaves some out")
    if offset + prod(size) > len(numbers.tensor):
        raise ValueError(f"it is damaged (a tensor of shape {shown(size)} has only {len(numbers.tensor):,} numbers)")
    return numbers.tensor.as_strided(size, stride, offset)


def _is_dense(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    expected = 1
    for step, count in sorted((s, n) for n, s in zip(size, stride, strict=True) if n != 1):
        if step != expected:
            return False
        expected *= count
    return True


def _are_counts(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _MOST_DIMENSIONS
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def _persistent(meta: Any, sources: dict[str, str]) -> Persistent:
    meta = meta if isinstance(meta, dict) else {}
    name, state, source = meta.get("class_name"), meta.get("state"), meta.get("module_src")
    if meta.get("type") != "class" or not isinstance(name, str) or not isinstance(state, dict):
        raise ValueError("it is damaged (one of its modules is none)")
    if not isinstance(source, str):
        raise ValueError("it is damaged (one of its modules has no source)")
    if source not in sources:
        sources[source] = sha256_of(source)
    return Persistent(name, state, sources[source])


def sha256_of(source: str) -> str:
    """The digest of a text, whatever characters are in it."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def _parameter(data: Any, *rest: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError(f"it is damaged (a parameter is {shown(data)})")
    return data


def _scalar(kind: Any, data: Any) -> Any:
    if not isinstance(kind, NumberType) or not isinstance(data, bytes) or len(data) != kind.dtype.itemsize:
        raise ValueError("it is damaged (a number is none)")
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: Any, code: Any, spend: Callable[[int], None]) -> bytes:
    if not isinstance(text, str) or code not in ("latin1", "latin-1"):
        raise ValueError(f"it is damaged (bytes are {shown(text)} in {shown(code)})")
    spend(len(text))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("it is damaged (bytes are written with characters that are none)") from error


def _set(values: Any) -> set[Any]:
    if not isinstance(values, list):
        raise ValueError(f"it is damaged (a set is made of {shown(values)})")
    return {key(value) for value in values}


def _empty_dict() -> dict[Any, Any]:
    return {}


def _empty_bytes() -> bytes:
    return b""


def _never(*arguments: Any) -> Any:
    raise ValueError("it is damaged (it calls what it should only name)")
