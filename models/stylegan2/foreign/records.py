"""The names that official pickles may use, and what stands in for them: tensors, arrays and passive records.

`makers` is the complete list of accepted names. Tensors are pickles of `torch.save` within the pickle.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from system.pickles import Built, Makers, key
from system.text import shown
from torch_utils.torchpickles import (
    Budget,
    Storage,
    are_counts,
    empty_dict,
    never,
    parameter,
    read_legacy,
    storage_names,
    tensor,
)

MOST_ENCODED = 2**27  # bytes that may come from texts, as in protocol 2
_MOST_MEMBERS = 2**20  # of sets
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_ORDERS = ("<", ">", "|", "=")


@dataclass(frozen=True)
class Persistent:
    """A module of an official PyTorch network: its class and fields, without its source code."""

    class_name: str
    state: dict[Any, Any]
    source_sha256: str  # of the source code in the file, which is neither run nor read


class TensorFlowNetwork(Built):
    """A network of the official TensorFlow programs."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Take the dict of the network's fields."""
        if not isinstance(state, dict):
            raise ValueError(f"it is damaged (a network holds {shown(state)})")
        self.state = state

    @property
    def name(self) -> str:
        """G, D or Gs; "" if the file does not state it."""
        name = self.state.get("name")
        return name if isinstance(name, str) else ""

    @property
    def sources(self) -> list[str]:
        """SHA-256 of its source code, which is neither run nor read."""
        source = self.state.get("build_module_src")
        return [sha256_of(source)] if isinstance(source, str) else []


class NumberType(Built):
    """A NumPy type; its byte order comes as its state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or code not in _NUMBERS:
            raise ValueError(f"it has numbers of the type {shown(code)}, which networks do not")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Take (version, byte order, None, None, None, -1, -1, 0)."""
        parts = state if isinstance(state, tuple) and len(state) >= 5 else (None,) * 5
        order, *others = parts[1:5]
        if not isinstance(order, str) or order not in _ORDERS or any(other is not None for other in others):
            raise ValueError("it has numbers of a composed type, which networks do not")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class Array(Built):
    """A NumPy array, which is made empty and gets its numbers as its state."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        self.shape: tuple[int, ...] = (0,)
        self._dtype, self._data, self._order = np.dtype(np.float32), b"", "C"

    def build(self, state: Any) -> None:
        """Take (version, shape, type, whether in Fortran's order, bytes)."""
        parts: tuple[Any, ...] = state if isinstance(state, tuple) and len(state) == 5 else (None,) * 5
        _, shape, kind, fortran, data = parts
        if not (isinstance(kind, NumberType) and isinstance(data, bytes) and are_counts(shape)):
            raise ValueError("it is damaged (an array is not of numbers)")
        if prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"it is damaged (an array of shape {shown(shape)} comes with {len(data):,} bytes)")
        self.shape, self._dtype, self._order = shape, kind.dtype, "F" if fortran is True else "C"
        self._data = data

    @property
    def values(self) -> np.ndarray:
        """The numbers, in an array of their own."""
        values = np.frombuffer(self._data, self._dtype).copy()
        return values.reshape(self.shape, order=self._order)  # type: ignore[call-overload]


def makers(size: int) -> Makers:
    """All names that an official pickle of `size` bytes may use, and what they make. For one reading."""
    numbers = Budget(size)
    encoded = Budget(
        MOST_ENCODED, f"it has more than {MOST_ENCODED >> 20} MiB of numbers as texts: save it with protocol 4"
    )
    members = Budget(_MOST_MEMBERS, "it has sets with more members than any network needs")
    digests: dict[str, str] = {}  # of sources, each hashed once

    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): lambda meta: _persistent(meta, digests),
        ("torch._utils", "_rebuild_tensor_v2"): dense_tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch.storage", "_load_from_bytes"): lambda data: storage(data, numbers),
        ("collections", "OrderedDict"): empty_dict,
        ("dnnlib.util", "EasyDict"): empty_dict,
        ("dnnlib.tflib.network", "Network"): TensorFlowNetwork,
        ("numpy", "dtype"): NumberType,
        ("numpy", "ndarray"): never,
        ("_codecs", "encode"): lambda text, code: _encode(text, code, encoded),
    }
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, "set"): lambda values: _set(values, members), (builtins, "bytes"): _empty_bytes}
    for numpy in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table |= {(numpy, "_reconstruct"): Array, (numpy, "scalar"): _scalar}
    return table


def storage(data: Any, budget: Budget) -> Storage:
    """The numbers in what `torch.save` wrote of a storage."""
    if not isinstance(data, bytes):
        raise ValueError(f"it is damaged (a tensor's numbers are {shown(data)})")
    budget.spend(len(data))
    found = read_legacy(io.BytesIO(data), len(data), dict.fromkeys(storage_names(), never), Budget(len(data)))
    if not isinstance(found, Storage):
        raise ValueError("it is damaged (a tensor has no numbers)")
    return found


def dense_tensor(numbers: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A tensor that uses each of some numbers once."""
    found = tensor(numbers, offset, size, stride)
    expected = 1
    for step, count in sorted((s, n) for n, s in zip(size, stride, strict=True) if n != 1):
        if step != expected:
            raise ValueError(
                f"it has a tensor of shape {shown(size)} that uses numbers more than once, or leaves some out"
            )
        expected *= count
    return found


def _persistent(meta: Any, digests: dict[str, str]) -> Persistent:
    meta = meta if isinstance(meta, dict) else {}
    name, state, source = meta.get("class_name"), meta.get("state"), meta.get("module_src")
    kind = meta.get("type")
    if not (isinstance(kind, str) and kind == "class" and isinstance(name, str) and isinstance(state, dict)):
        raise ValueError("it is damaged (one of its modules is not a module)")
    if not isinstance(source, str):
        raise ValueError("it is damaged (one of its modules has no source)")
    if source not in digests:
        digests[source] = sha256_of(source)
    return Persistent(name, state, digests[source])


def sha256_of(source: str) -> str:
    """The digest of a text, whatever characters it has."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def _scalar(kind: Any, data: Any) -> Any:
    if not isinstance(kind, NumberType) or not isinstance(data, bytes) or len(data) != kind.dtype.itemsize:
        raise ValueError("it is damaged (one of its numbers is not a number)")
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: Any, code: Any, budget: Budget) -> bytes:
    if not isinstance(text, str) or not isinstance(code, str) or code not in ("latin1", "latin-1"):
        raise ValueError(f"it is damaged (bytes are {shown(text)} in {shown(code)})")
    budget.spend(len(text))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError("it is damaged (bytes are written with characters that are not bytes)") from error


def _set(values: Any, budget: Budget) -> set[Any]:
    if not isinstance(values, list):
        raise ValueError(f"it is damaged (a set is made of {shown(values)})")
    budget.spend(len(values))
    return {key(value) for value in values}


def _empty_bytes() -> bytes:
    return b""
