"""Reads pickles without running any code.

A pickle is a program for a stack machine. Python's own machine imports and calls whatever the program names. The
machine here runs only the few instructions that plain data needs (`pickletools` splits the bytes into instructions).
Names are looked up in a table of the caller (`Makers`), whose functions return plain data. Unknown names and
instructions end the reading with an error that names them.

The number of instructions, of open values and of characters is limited. Lengths in the pickle are checked against the
length of the file.
"""

import mmap
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from system.text import printable, shown

Makers = Mapping[tuple[str, str], Callable[..., Any]]  # (module, name) -> a function that returns plain data

MOST_INSTRUCTIONS = 1_000_000  # the largest official files have about 40,000
MOST_OPEN = 10_000  # values on the stack, which limits nesting, too
MOST_TEXT = 192 * 2**20  # characters of all texts; a character takes four bytes at most
_PROTOCOLS = range(2, 6)
_LARGEST_KEY = 2**31

_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_STRINGS = {"SHORT_BINSTRING", "BINSTRING"}  # of Python 2, where texts and bytes were one type
_TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", *_STRINGS}

LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # start of torch.save files before PyTorch 1.6
_TEXT = re.compile(rb"\(*(c[A-Za-z_][\w.]*\n[A-Za-z_]|[dl]p?\d*[\n(]|[}\]]q)")  # protocols 0 and 1


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins with `head` is a single pickle. Files of `torch.save` are not."""
    if head.startswith(LEGACY_TORCH):
        return False
    return (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")) or bool(_TEXT.match(head))


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, with the function of ours that replaces it."""

    module: str
    name: str
    make: Callable[..., Any]


class Built:
    """An object that a pickle gives a state after making it."""

    def build(self, state: Any) -> None:
        """Take the state. Raises ValueError if it does not have the known form."""
        raise NotImplementedError


def read_pickle(
    file: BinaryIO | mmap.mmap,
    makers: Makers,
    persistent: Callable[[Any], Any] | None = None,
    most: int = MOST_INSTRUCTIONS,
    strings: type[str] | type[bytes] = str,
) -> Any:
    """Read the pickle at the place of a file; the place is behind the pickle afterwards.

    Args:
        file: a `BytesIO` or memory map. Other files may allocate whatever length a pickle claims.
        makers: all allowed names, with the functions that make values of their arguments.
        persistent: returns the value of a persistent identifier; None refuses persistent identifiers.
        most: largest number of instructions.
        strings: type for the strings of Python 2: texts, or bytes, which arrays of that time need.

    Raises:
        ValueError: if the pickle is damaged, or contains a name or an instruction that is not allowed.
    """
    machine = _Machine(makers, persistent, strings)
    instructions = pickletools.genops(file)  # type: ignore[arg-type]  # reads maps, too
    for count in range(most):
        try:
            opcode, argument, _ = next(instructions)
        except ValueError as error:
            raise ValueError(f"it is cut short or damaged (after {count} instructions of its pickle)") from error
        if opcode.name == "STOP":
            return machine.result()
        machine.step(opcode.name, argument)
    raise ValueError(f"its pickle has more than {most:,} instructions, the limit")


class _Machine:
    def __init__(self, makers: Makers, persistent: Callable[[Any], Any] | None, strings: type) -> None:
        self.makers, self.persistent, self.strings = makers, persistent, strings
        self.text_left = MOST_TEXT
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(argument)
        elif opcode in _TEXTS:
            self.stack.append(self.text(argument, opcode in _STRINGS))
        elif opcode in _FRESH:
            self.stack.append(_FRESH[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise ValueError(f"its pickle has the instruction {opcode}, which is not supported")
        if len(self.stack) + len(self.marks) > MOST_OPEN:
            raise ValueError(f"its pickle has more than {MOST_OPEN:,} open values, the limit")

    def text(self, text: str, of_python_2: bool) -> str | bytes:
        self.text_left -= len(text)
        if self.text_left < 0:
            raise ValueError(f"its pickle has more than {MOST_TEXT >> 20} MiB of texts, the limit")
        if not of_python_2:
            return text
        data = text.encode("latin-1")
        try:
            return data if self.strings is bytes else data.decode()
        except UnicodeDecodeError as error:
            raise ValueError("it is damaged (a text is not UTF-8)") from error

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            raise ValueError("it is damaged (values are left over at the end of its pickle)")
        return value

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def top(self) -> Any:
        """Return the last value after the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("it is damaged (its pickle takes a value from an empty stack)")
        return self.stack[-1]

    def protocol(self, version: int) -> None:
        if version not in _PROTOCOLS:
            raise ValueError(f"its pickle has protocol {version}, expected 2 to 5")

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def marked(self) -> list[Any]:
        """Take the values after the last mark."""
        if not self.marks:
            raise ValueError("it is damaged (its pickle takes a value from an empty stack)")
        height = self.marks.pop()
        taken = self.stack[height:]
        del self.stack[height:]
        return taken

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("it is damaged (its pickle reads a memo that it has not written)")
        self.stack.append(self.memo[index])

    def append(self, values: list[Any]) -> None:
        _of(list, self.top()).extend(values)

    def set_items(self, flat: list[Any]) -> None:
        if len(flat) % 2:
            raise ValueError("it is damaged (a key of its pickle has no value)")
        target = _of(dict, self.top())
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            target[key(name)] = value

    def add_items(self, values: list[Any]) -> None:
        _of(set, self.top()).update(key(value) for value in values)

    def set_item(self, _: Any) -> None:
        value, name = self.pop(), self.pop()
        self.set_items([name, value])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError(f"it is damaged (it asks for {shown(module)} of {shown(name)})")
        if (module, name) not in self.makers:
            spelled = printable(f"{module[:100]}.{name[:100]}", 100)
            raise ValueError(f"it asks for {spelled}, which is not allowed; no code of the file was run")
        self.stack.append(Name(module, name, self.makers[module, name]))

    def global_name(self, both: str) -> None:
        module, _, name = both.partition(" ")
        self.name(module, name)

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def make(self, _: Any) -> None:
        arguments, called = _of(tuple, self.pop()), _of(Name, self.pop())
        try:
            self.stack.append(called.make(*arguments))
        except TypeError as error:  # a wrong number of arguments
            raise ValueError(f"it is damaged ({called.name} is called with wrong arguments)") from error

    def build(self, _: Any) -> None:
        state = self.pop()
        if type(self.top()) is not dict:  # attributes of a dict are dropped
            _of(Built, self.top()).build(state)

    def persist(self, _: Any) -> None:
        if self.persistent is None:
            raise ValueError("its pickle has the instruction BINPERSID, which is not supported")
        self.stack.append(self.persistent(self.pop()))


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind and not (kind is Built and isinstance(value, Built)):
        raise ValueError(f"it is damaged (its pickle has {shown(value)}, expected {_KINDS[kind]})")
    return value


def key(value: Any) -> Any:
    """Return a key of a dict or member of a set. Raises ValueError unless it hashes fast: a text or a small number."""
    if value is None or isinstance(value, bool | str | bytes) or (isinstance(value, int) and abs(value) < _LARGEST_KEY):
        return value
    raise ValueError(f"its pickle uses {shown(value)} as a key, which is not supported")


_KINDS: dict[type, str] = {
    list: "a list",
    dict: "a dict",
    set: "a set",
    tuple: "a tuple",
    Name: "a class or a function",
    Built: "an object that takes a state",
}
_FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.add_items(machine.marked()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persist,
}
