"""Reads pickles without running any code.

A pickle is a program for a stack machine. Python's own machine imports and calls whatever the program names. The
machine here runs only the instructions that plain data needs. Names are looked up in a table of the caller (`Makers`),
whose functions return plain data; nothing is imported. Unknown names and instructions end the reading with an error
that names them. The number of instructions, of open values and of characters is limited.
"""

import mmap
import pickle
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from system.text import printable, shown

Makers = Mapping[tuple[str, str], Callable[..., Any]]  # (module, name) -> a function that returns plain data

MOST_INSTRUCTIONS = 1_000_000  # the largest official files have about 40,000
MOST_OPEN = 10_000  # values on the stack, or marks
MOST_TEXT = 192 * 2**20  # characters of all texts; a character takes four bytes at most
_LARGEST_KEY = 2**31
_DAMAGE = (pickle.UnpicklingError, LookupError, EOFError, TypeError, AttributeError, UnicodeError, struct.error)

LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # start of torch.save files before PyTorch 1.6
_TEXT = re.compile(rb"\(*(c[A-Za-z_][\w.]*\n[A-Za-z_]|[dl]p?\d*[\n(]|[}\]]q)")  # protocols 0 and 1


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins with `head` is a single pickle. Files of `torch.save` are not."""
    if head.startswith(LEGACY_TORCH):
        return False
    binary = head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    # A zero is no instruction of a pickle, but the third byte of most .safetensors: they begin with a length.
    return (binary and head[2:3] != b"\0") or bool(_TEXT.match(head))


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, with the function of ours that replaces it."""

    name: str
    make: Callable[..., Any]


class Built:
    """An object that a pickle gives a state after making it."""

    def build(self, state: Any) -> None:
        """Take the state. Raises ValueError if it does not have the known form."""


def read_pickle(
    file: BinaryIO | mmap.mmap,
    makers: Makers,
    persistent: Callable[[Any], Any] | None = None,
    most: int = MOST_INSTRUCTIONS,
    strings: type[str] | type[bytes] = str,
) -> Any:
    """Read the pickle at the place of a file, a `BytesIO` or memory map; other files may allocate what a pickle claims.

    `makers` has all allowed names; `persistent` makes the values of persistent identifiers; `strings` is the type of
    Python 2's strings. Raises ValueError if it is damaged, longer than `most` instructions, or has something else.
    """
    machine = _Machine(file, makers, most, "bytes" if strings is bytes else "utf-8")
    if persistent is not None:
        machine.persistent_load = persistent  # type: ignore[method-assign,assignment]
    try:
        return machine.load()
    except _DAMAGE as error:
        raise ValueError(f"it is cut short or damaged (at instruction {machine.count} of its pickle)") from error


def key(value: Any) -> Any:
    """Return a key of a dict or member of a set. Raises ValueError unless it hashes fast: a text or a small number."""
    if value is None or isinstance(value, bool | str | bytes) or (isinstance(value, int) and abs(value) < _LARGEST_KEY):
        return value
    raise ValueError(f"its pickle uses {shown(value)} as a key, which is not supported")


class _Machine(pickle._Unpickler):
    """Python's machine, without the instructions that import, call or alter anything but plain data."""

    stack: list[Any]
    metastack: list[list[Any]]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    dispatch = property(lambda machine: machine)  # `load` looks up every instruction there

    def __init__(self, file: Any, makers: Makers, most: int, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.makers, self.most, self.count, self.text_left = makers, most, 0, MOST_TEXT

    def __getitem__(self, code: int) -> Callable[["_Machine"], None]:
        self.count += 1
        if self.count > self.most:
            raise ValueError(f"its pickle has more than {self.most:,} instructions, the limit")
        if len(self.stack) + len(self.metastack) > MOST_OPEN:
            raise ValueError(f"its pickle has more than {MOST_OPEN:,} open values, the limit")
        if code not in _STEPS:
            name = next((name for name, known in _CODES.items() if known == code), code)
            raise ValueError(f"its pickle has the instruction {name}, which is not supported")
        return _STEPS[code]

    def find_class(self, module: str, name: str) -> Name:
        if not name:
            raise EOFError
        if (module, name) not in self.makers:
            spelled = printable(f"{module[:100]}.{name[:100]}", 100)
            raise ValueError(f"it asks for {spelled}, which is not allowed; no code of the file was run")
        return Name(name, self.makers[module, name])

    def make(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(_of(Name, called).make(*_of(tuple, arguments)))

    def build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) is not dict:  # attributes of a dict are dropped
            _of(Built, self.stack[-1]).build(state)

    def set_items(self, flat: list[Any]) -> None:
        target = _of(dict, self.stack[-1])
        for i in range(0, len(flat), 2):
            target[key(flat[i])] = flat[i + 1]

    def add_items(self) -> None:
        items = self.pop_mark()
        _of(set, self.stack[-1]).update(map(key, items))


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it is damaged (its pickle has {shown(value)} in place of another kind of value)")
    return value


def _limited(step: Callable[[_Machine], None]) -> Callable[[_Machine], None]:
    def take_text(machine: _Machine) -> None:
        step(machine)
        machine.text_left -= len(machine.stack[-1])
        if machine.text_left < 0:
            raise ValueError(f"its pickle has more than {MOST_TEXT >> 20} MiB of texts, the limit")

    return take_text


_PLAIN = (  # instructions that only push, pop, remember, and make or extend lists and tuples
    "PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINBYTES BINBYTES "
    "BINBYTES8 EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS BINPUT "
    "LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL BINPERSID"
)
_TEXTS = "SHORT_BINSTRING BINSTRING BINUNICODE SHORT_BINUNICODE BINUNICODE8"
_CODES = {op.name: ord(op.code) for op in pickletools.opcodes}
_PYTHONS: Any = pickle._Unpickler.dispatch
_STEPS: dict[int, Callable[[_Machine], Any]] = {
    **{_CODES[name]: _PYTHONS[_CODES[name]] for name in _PLAIN.split()},
    **{_CODES[name]: _limited(_PYTHONS[_CODES[name]]) for name in _TEXTS.split()},
    _CODES["FRAME"]: lambda machine: machine.read(8),
    _CODES["REDUCE"]: _Machine.make,
    _CODES["NEWOBJ"]: _Machine.make,
    _CODES["BUILD"]: _Machine.build,
    _CODES["SETITEM"]: lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    _CODES["SETITEMS"]: lambda machine: machine.set_items(machine.pop_mark()),
    _CODES["ADDITEMS"]: _Machine.add_items,
}
