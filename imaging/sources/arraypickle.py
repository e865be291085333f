"""Reads pickles of plain data and byte arrays, such as CIFAR's, without running anything that they ask for.

A pickle is a program for a stack machine, and Python's own machine calls what the program names. Even numpy's own
classes are dangerous there: their `__setstate__` trusts what it is given. This machine carries out the few instructions
that dictionaries, lists, texts and numbers are made of. It recognizes numpy's arrays by the form of their pickles and
makes them from their bytes. Nothing of the file is ever called, imported, hashed or compared, except texts and numbers.
"""

import io
import math
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from system.text import printable

MOST_INSTRUCTIONS = 5_000_000  # CIFAR-100 has 300,000
MOST_OPEN = 200_000  # values on the stack
LARGEST_KEY = 2**31
RECONSTRUCT = {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}
ARRAY, DTYPE = "numpy.ndarray", "numpy.dtype"
BYTE = ("u1", "uint8")
DTYPE_STATE = (3, "|", None, None, None, -1, -1, 0)  # version, byte order, no fields; sizes as usual, no flags


class _Name(NamedTuple):
    """What a pickle names: `module.name`."""

    path: str


class _Dtype:
    """Becomes uint8, the one type that is read."""


class _Array:
    """An array before its state is known, and after."""

    pixels: np.ndarray | None = None


class _Mark:
    """Where on the stack a collection begins."""


def read_arrays(data: bytes) -> dict[str, Any]:
    """The dictionary that a pickle holds. Its keys are texts; a byte array in it is uint8 of its own shape.

    Python 2's texts, and bytes, stay bytes, except in keys. ValueError says what is damaged, or what the pickle asks
    for beyond dictionaries, lists, texts, numbers and byte arrays.
    """
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
        if count >= MOST_INSTRUCTIONS or len(machine.stack) > MOST_OPEN:
            raise ValueError("its pickle is far longer than one of CIFAR's")
        machine.step(opcode.name, argument)
    content = _finished(machine.pop())
    if not isinstance(content, dict):
        raise ValueError(f"it holds {_kind(content)}, and a dictionary was expected")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): _finished(v) for key, v in content.items()}


def _finished(value: Any) -> Any:
    return value.pixels if isinstance(value, _Array) and value.pixels is not None else value


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode](argument))
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise ValueError(f"its pickle has the instruction {opcode}, which CIFAR's do not have")

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("it is damaged (its pickle takes more than it has)")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        taken = []
        while not isinstance(value := self.pop(), _Mark):
            taken.append(value)
        return taken[::-1]

    def tuple(self, count: int | None) -> None:
        items = self.pop_to_mark() if count is None else [self.pop() for _ in range(count)][::-1]
        self.stack.append(tuple(items))

    def append(self, items: list[Any]) -> None:
        top = self.top(list)
        top.extend(map(_finished, items))

    def set_items(self, items: list[Any]) -> None:
        top = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            small = isinstance(key, int) and abs(key) < LARGEST_KEY
            if not (isinstance(key, str | bytes) or small):
                raise ValueError(
                    f"a key of its dictionaries is {_kind(key)}, and texts and small numbers were expected"
                )
            top[key] = value

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"it is damaged (its pickle fills a {kind.__name__} that is not there)")
        return self.stack[-1]

    def remember(self, place: int) -> None:
        if not self.stack:
            raise ValueError("it is damaged (its pickle takes more than it has)")
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        if place not in self.memo:
            raise ValueError("it is damaged (its pickle goes back to what it never had)")
        self.stack.append(self.memo[place])

    def name(self, path: str) -> None:
        if path not in RECONSTRUCT | {ARRAY, DTYPE}:
            raise ValueError(f"it asks for {printable(path, 80)}, which no picture needs")
        self.stack.append(_Name(path))

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("it is damaged (its pickle names something by no text)")
        self.name(f"{module}.{name}")

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise ValueError("it is damaged (its pickle calls what has no name)")
        if called.path == DTYPE:
            kind = _text(arguments[0]) if arguments else ""
            if kind not in BYTE:
                raise ValueError(f"it has an array of {printable(kind) or 'no known type'}, and bytes were expected")
            self.stack.append(_Dtype())
        elif called.path in RECONSTRUCT and arguments and _names_array(arguments[0]):
            self.stack.append(_Array())
        else:
            raise ValueError("it makes an array in a way that numpy does not")

    def build(self) -> None:
        state, built = self.pop(), self.top(object)
        if not isinstance(state, tuple):
            raise ValueError("it has an array whose description is damaged")
        if isinstance(built, _Dtype):
            plain = all(isinstance(each, int | str | bytes | None) for each in state)
            if not plain or tuple(_text(each) or each for each in state) != DTYPE_STATE:
                raise ValueError("it has an array of a special type, and bytes were expected")
        elif isinstance(built, _Array):
            built.pixels = _pixels(state)
        else:
            raise ValueError(f"it gives a state to {_kind(built)}")


def _pixels(state: tuple[Any, ...]) -> np.ndarray:
    """uint8 of any shape, from (version, shape, dtype, whether in Fortran's order, bytes)."""
    if len(state) != 5 or not isinstance(state[2], _Dtype) or not isinstance(state[4], bytes):
        raise ValueError("it has an array whose description is damaged")
    shape, data = state[1], state[4]
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape):
        raise ValueError("it has an array whose shape is damaged")
    if math.prod(shape) != len(data):
        raise ValueError(f"it has an array of shape {list(shape)} with {len(data)} bytes")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if state[3] is True else "C")


def _names_array(value: Any) -> bool:
    return isinstance(value, _Name) and value.path == ARRAY


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _kind(value: Any) -> str:
    return f"a {type(value).__name__.strip('_').lower()}"


# Python 2's texts come as latin-1 and are bytes.
_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), bytes),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"), str),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING", "STRING"), lambda text: text.encode("latin-1")),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT"), lambda n: n),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "MARK": lambda _: _Mark(),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, _: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, place: m.remember(place)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.recall(place)),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "TUPLE": lambda m, _: m.tuple(None),
    "TUPLE1": lambda m, _: m.tuple(1),
    "TUPLE2": lambda m, _: m.tuple(2),
    "TUPLE3": lambda m, _: m.tuple(3),
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_to_mark()),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "GLOBAL": lambda m, named: m.name(named.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda m, _: m.stack_name(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}
