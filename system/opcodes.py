"""The instructions of pickles that plain data are made of, and how what they carry is read."""

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from system.windows import Window

LONG = 2**16  # bytes of a string from which on it stays in the file


def _take(window: Window, length: int) -> bytes | Window:
    """A long string of bytes stays where it is."""
    return window.read(length) if length < LONG else window.part(length)


def _unsigned(size: int) -> Callable[[Window], int]:
    return lambda window: int.from_bytes(window.read(size), "little")


def _string(size: int) -> Callable[[Window], bytes | Window]:
    return lambda window: _take(window, int.from_bytes(window.read(size), "little"))


NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
STRINGS = {"SHORT_BINSTRING", "BINSTRING"}  # of Python 2, where texts and bytes were one
TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", *STRINGS}
ARGUMENTS: dict[str, Callable[[Window], Any]] = {
    "PROTO": _unsigned(1),
    "FRAME": _unsigned(8),
    "BININT": lambda window: int.from_bytes(window.read(4), "little", signed=True),
    "BININT1": _unsigned(1),
    "BININT2": _unsigned(2),
    "LONG1": lambda window: int.from_bytes(window.read(window.read(1)[0]), "little", signed=True),
    "BINFLOAT": lambda window: struct.unpack(">d", window.read(8))[0],
    "SHORT_BINUNICODE": _string(1),
    "BINUNICODE": _string(4),
    "BINUNICODE8": _string(8),
    "SHORT_BINSTRING": _string(1),
    "SHORT_BINBYTES": _string(1),
    "BINSTRING": _string(4),
    "BINBYTES": _string(4),
    "BINBYTES8": _string(8),
    "BINPUT": _unsigned(1),
    "LONG_BINPUT": _unsigned(4),
    "BINGET": _unsigned(1),
    "LONG_BINGET": _unsigned(4),
    "GLOBAL": lambda window: (window.line(), window.line()),
}
CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
