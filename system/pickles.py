"""Reads pickles without running anything that they ask for.

A pickle is a program for a small stack machine, and Python's own machine imports and calls whatever the program names.
This one carries out the few instructions that plain data are made of. Where the program names something, the
name is looked up in a table of the caller's (`Makers`), and what is "called" is a function of ours that looks at its
arguments and gives back plain data. A name that is not in the table, and an instruction that is not known here, end
the reading with a sentence that names it. The program never holds anything that can be called, imported or altered.

Time and memory are bounded: by the number of instructions, by the size of the file, and by leaving long strings of
bytes where they are (`Window`) until somebody wants them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from system.opcodes import ARGUMENTS, CONSTANTS, NAMES, STRINGS, TEXTS
from system.text import printable, shown
from system.windows import CutError, Window

Makers = Mapping[tuple[str, str], Callable[..., Any]]  # (module, name) -> what it makes of its arguments

MOST_INSTRUCTIONS = 1_000_000  # the largest official files have about 40,000
MOST_OPEN = 10_000  # things that wait on the stack to be put into others, which bounds nesting too
MOST_TEXT = 192 * 2**20  # bytes of texts in all, which take four times as much at worst
_PROTOCOLS = range(2, 6)
_LARGEST_KEY = 2**31

LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # what files of torch.save before PyTorch 1.6 begin with
_TEXT = re.compile(rb"\(*(c[A-Za-z_][\w.]*\n[A-Za-z_]|[dl]p?\d*[\n(]|[}\]]q)")  # protocols 0 and 1


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is one pickle. A file of `torch.save` is an archive, or several pickles."""
    if head.startswith(LEGACY_TORCH):
        return False
    return (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")) or bool(_TEXT.match(head))


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names, and what stands in for it."""

    module: str
    name: str
    make: Callable[..., Any]


class Built:
    """What a pickle may give a state to, after it was made."""

    def build(self, state: Any) -> None:
        """Takes the state. Raises ValueError when it is not of the form that is known."""
        raise NotImplementedError


def read_pickle(
    window: Window,
    makers: Makers,
    persistent: Callable[[Any], Any] | None = None,
    most: int = MOST_INSTRUCTIONS,
    strings: type[str] | type[bytes] = str,
) -> Any:
    """What the pickle at the window's place says; the place is behind it then.

    Strings of bytes from `LONG` on are given as windows, whatever the pickle puts them into.

    Args:
        window: where the pickle is.
        makers: every name that may occur, and what it makes of the arguments.
        persistent: gives what a persistent identifier stands for; without it they are refused.
        most: how many instructions there may be.
        strings: what the strings of Python 2 become: texts, or bytes as arrays of that time need them.

    Raises:
        ValueError: when the pickle is damaged, or asks for anything else; it names what.
    """
    machine = _Machine(window, makers, persistent)
    machine.plain = CONSTANTS | STRINGS if strings is bytes else CONSTANTS
    for count in range(most):
        try:
            code = window.read(1)[0]
            name = NAMES.get(code, "")
            argument = ARGUMENTS[name](window) if name in ARGUMENTS else None
        except CutError as error:
            raise ValueError(f"it is cut short or damaged (after {count} instructions of its pickle)") from error
        if name == "STOP":
            return machine.result()
        machine.step(name or f"{code:#04x}", argument)
    raise ValueError(f"its pickle has more than {most:,} instructions, which is too many to read")


class _Machine:
    def __init__(self, window: Window, makers: Makers, persistent: Callable[[Any], Any] | None) -> None:
        self.makers, self.persistent = makers, persistent
        self.text_left = MOST_TEXT
        self.plain = CONSTANTS  # instructions that carry a value as it is
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in self.plain:
            self.stack.append(argument)
        elif opcode in TEXTS:
            self.stack.append(self.text(argument))
        elif opcode in _FRESH:
            self.stack.append(_FRESH[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise ValueError(f"its pickle has the instruction {opcode}, which is not known here")
        if len(self.stack) + len(self.marks) > MOST_OPEN:
            raise ValueError(f"its pickle has more than {MOST_OPEN:,} things open at once, which is too many to read")

    def text(self, data: bytes | Window) -> str:
        self.text_left -= len(data)
        if self.text_left < 0:
            raise ValueError(f"its pickle has more than {MOST_TEXT >> 20} MiB of texts, which is too much to read")
        try:
            return str(data if isinstance(data, bytes) else data.read(len(data)), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ValueError("it is damaged (one of its texts is not one)") from error

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            raise ValueError("it is damaged (something is left over at the end of its pickle)")
        return value

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def top(self) -> Any:
        """The last value after the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("it is damaged (its pickle takes more than it has)")
        return self.stack[-1]

    def protocol(self, version: int) -> None:
        if version not in _PROTOCOLS:
            raise ValueError(f"its pickle is of protocol {version}, and only 2 to 5 are known here")

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def marked(self) -> list[Any]:
        """Takes what stands after the last mark."""
        if not self.marks:
            raise ValueError("it is damaged (its pickle takes more than it has)")
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
            raise ValueError("it is damaged (its pickle takes what it has not kept)")
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
            raise ValueError(f"it asks for {spelled}, which is not allowed here; nothing of it was run")
        self.stack.append(Name(module, name, self.makers[module, name]))

    def global_name(self, lines: tuple[bytes, bytes]) -> None:
        module, name = (line.decode("utf-8", "replace") for line in lines)
        self.name(module, name)

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def make(self, _: Any) -> None:
        arguments, called = _of(tuple, self.pop()), _of(Name, self.pop())
        try:
            self.stack.append(called.make(*arguments))
        except TypeError as error:  # too many arguments or too few
            raise ValueError(f"it is damaged ({called.name} is called with something else)") from error

    def build(self, _: Any) -> None:
        state = self.pop()
        if type(self.top()) is not dict:  # what a dict has besides its items is dropped
            _of(Built, self.top()).build(state)

    def persist(self, _: Any) -> None:
        if self.persistent is None:
            raise ValueError("its pickle has the instruction BINPERSID, which is not known here")
        self.stack.append(self.persistent(self.pop()))


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind and not (kind is Built and isinstance(value, Built)):
        raise ValueError(f"it is damaged (its pickle has {shown(value)} where it needs {_KINDS[kind]})")
    return value


def key(value: Any) -> Any:
    """What may be a key of a dict or a member of a set: texts and small numbers, which are hashed at once."""
    if value is None or isinstance(value, bool | str | bytes) or (isinstance(value, int) and abs(value) < _LARGEST_KEY):
        return value
    raise ValueError(f"its pickle uses {shown(value)} as a key, which is not known here")


_KINDS: dict[type, str] = {
    list: "a list",
    dict: "a dict",
    set: "a set",
    tuple: "a tuple",
    Name: "a class or a function",
    Built: "something that can be given a state",
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
