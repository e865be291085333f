"""The names that official pickles may use, and their replacements: tensors, arrays and passive records.

`makers` is the complete list of accepted names. Tensors are pickles of `torch.save` within the pickle.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from system.pickles import Built, Makers
from system.text import shown
from torch_utils import torchfile
from torch_utils.torchfile import Budget, empty_dict, never

_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
MOST_ENTRIES = 20_000  # of all tables of tensors and modules together; the largest official network has 1,000
LONGEST_NAME = 200  # with those of the modules around it, which limits the depth
_CLASSES = {
    *("Generator", "MappingNetwork", "SynthesisNetwork", "SynthesisBlock", "SynthesisLayer", "ToRGBLayer"),
    *("Discriminator", "DiscriminatorBlock", "DiscriminatorEpilogue", "MinibatchStdLayer"),
    *("Conv2dLayer", "FullyConnectedLayer", ""),
}
_TABLES = ("_parameters", "_buffers", "_modules", "variables", "components")  # frozen weights are buffers


@dataclass(eq=False)
class Record(Built):
    """A network or module of an official program: its class and fields, without its source code."""

    class_name: str = ""  # "" in TensorFlow
    state: dict[Any, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Take the dict of the network's fields."""
        demand(isinstance(state, dict), "a network is not a table", state)
        self.state = state


class NumberType(Built):
    """A NumPy type; its byte order comes as its state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        demand(isinstance(code, str) and code in _NUMBERS, "a type of numbers", code)
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        """Take (version, byte order, ...)."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        demand(isinstance(order, str) and order in ("<", ">", "|", "="), "an order of bytes", order)
        self.dtype = self.dtype.newbyteorder(order)


class Array(Built):
    """A NumPy array, which is made empty and gets its numbers as its state."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        self.values = np.zeros(0, np.float32)

    def build(self, state: Any) -> None:
        """Take (version, shape, type, whether in Fortran's order, bytes)."""
        parts: tuple[Any, ...] = state if isinstance(state, tuple) and len(state) == 5 else (None,) * 5
        _, shape, kind, fortran, data = parts
        fits = isinstance(kind, NumberType) and isinstance(data, bytes) and torchfile.are_counts(shape)
        fits = fits and prod(shape) * kind.dtype.itemsize == len(data)
        demand(fits, "an array does not have its numbers", shape)
        self.values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran is True else "C")


def demand(fits: bool, what: str, value: Any) -> None:
    """Raise ValueError unless a value of the file has its form."""
    if not fits:
        raise ValueError(f"it is damaged ({what}: {shown(value)})")


def makers(size: int) -> Makers:
    """All names that an official pickle of `size` bytes may use, and what they make. For one reading."""
    budget = Budget(2 * size)  # a byte may be spelled as a text, and then be a number of a tensor

    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
        ("torch._utils", "_rebuild_tensor_v2"): torchfile.tensor,
        ("torch._utils", "_rebuild_parameter"): torchfile.parameter,
        ("torch.storage", "_load_from_bytes"): lambda data: _storage(data, budget),
        ("collections", "OrderedDict"): empty_dict,
        ("dnnlib.util", "EasyDict"): empty_dict,
        ("dnnlib.tflib.network", "Network"): lambda: Record(),
        ("numpy", "dtype"): NumberType,
        ("numpy", "ndarray"): never,
        ("_codecs", "encode"): lambda text, code: _encode(text, code, budget),
    }
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, "set"): lambda values: set(), (builtins, "bytes"): lambda: b""}  # no set matters here
    for numpy in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table |= {(numpy, "_reconstruct"): Array, (numpy, "scalar"): _scalar}
    return table


def take_apart(network: Record, budget: Budget) -> tuple[dict[str, Any], dict[str, Record]]:
    """The tensors or arrays of a network, and all networks and modules in it, by their names; the network's is "".

    Raises ValueError for modules of other networks, by their names, and for more entries or bytes than allowed.
    """
    tensors: dict[str, Any] = {}
    records, waiting, entries = {"": network}, [""], 0
    separator, kind = (".", Tensor) if network.class_name else ("/", Array | float)
    for path in waiting:
        class_name = records[path].class_name
        if class_name == "SynthesisInput":
            raise ValueError(
                "it is a StyleGAN3 network of another configuration: only StyleGAN3 networks of the configuration "
                "stylegan2 can be read here"
            )
        if class_name not in _CLASSES:
            what = f"its module {shown(path)}" if path else "its network"
            raise ValueError(f"{what} is of the class {shown(class_name)}, which StyleGAN2 does not have")
        for table in _TABLES:
            for own, value in pairs(records[path].state.get(table), table):
                name, entries = f"{path}{separator}{own}" if path else own, entries + 1
                if entries > MOST_ENTRIES or len(name) > LONGEST_NAME:
                    raise ValueError("it has more tensors and modules, or longer names, than any StyleGAN2")
                demand(name not in tensors and name not in records, "a name has two values", name)
                if isinstance(value, Record) and bool(value.class_name) == bool(network.class_name):
                    records[name] = value
                    waiting.append(name)
                elif value is not None:
                    demand(isinstance(value, kind), name, value)
                    tensors[name] = value = value.values if isinstance(value, Array) else value
                    budget.spend(value.nbytes if isinstance(value, Tensor) else 4 * np.size(value))
    return tensors, records


def pairs(value: Any, what: str) -> list[tuple[str, Any]]:
    """The names and values of a table, which may be a list of them; none for None."""
    found = [] if value is None else list(value.items()) if isinstance(value, dict) else value
    fits = isinstance(found, list) and len(found) <= MOST_ENTRIES
    fits = fits and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in found)
    demand(fits, what, value)
    return found


def _storage(data: Any, budget: Budget) -> torchfile.Storage:
    """The numbers in what `torch.save` wrote of a storage."""
    demand(isinstance(data, bytes), "the numbers of a tensor", data)
    budget.spend(len(data))
    found = torchfile.read_legacy(io.BytesIO(data), len(data), torchfile.storage_makers())
    demand(isinstance(found, torchfile.Storage), "the numbers of a tensor", found)
    return found


def _module(meta: Any) -> Record:
    meta = meta if isinstance(meta, dict) else {}
    name, state = meta.get("class_name"), meta.get("state")
    demand(isinstance(name, str) and name != "" and isinstance(state, dict), "a module without class or fields", name)
    return Record(name, state)


def _scalar(kind: Any, data: Any) -> Any:
    fits = isinstance(kind, NumberType) and isinstance(data, bytes) and len(data) == kind.dtype.itemsize
    demand(fits, "a number", data)
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: Any, code: Any, budget: Budget) -> bytes:
    """Bytes that protocol 2 spells as a text."""
    demand(isinstance(text, str) and isinstance(code, str) and code in ("latin1", "latin-1"), "bytes", text)
    budget.spend(len(text))
    return text.encode("latin-1")
