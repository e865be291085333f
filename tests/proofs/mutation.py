"""Pickles that are changed instruction by instruction, so that most of them are still pickles."""

import io
import pickletools
import random
from collections.abc import Callable

HOSTILE = [  # names that a pickle must not reach, most of which the usual reader would call
    *("os system", "posix system", "builtins eval", "builtins exec", "__builtin__ compile", "builtins __import__"),
    *("subprocess Popen", "socket socket", "importlib import_module", "runpy run_path", "torch load", "torch.hub load"),
    *("numpy load", "dill._dill _create_function", "pickle loads", "torch_utils.persistence import_hook"),
    *("torch.storage _load_from_bytes", "functools partial", "operator attrgetter", "types CodeType", "sys exit"),
]
_CONSTANTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE"}
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE"}
_ALIKE = [  # instructions that take and give as many things
    [b"N", b"\x88", b"\x89", b"}", b"]", b")", b"\x8f"],
    [b"R", b"\x81", b"\x86"],
    [b"t", b"1"],
    [b"u", b"e", b"\x90"],
    [b"b", b"a", b"0"],
    [b"\x85", b""],
]

Instructions = list[tuple[str, bytes]]  # name, and bytes


def instructions(data: bytes) -> Instructions:
    """The instructions of the pickle with which the bytes begin; frames are left out, which need not be there."""
    found = list(pickletools.genops(data))
    ends = [position for _, _, position in found[1:]] + [(found[-1][2] or 0) + 1]
    return [
        (opcode.name, data[position:end])
        for (opcode, _, position), end in zip(found, ends, strict=True)
        if opcode.name != "FRAME"
    ]


def is_pickle(data: bytes) -> bool:
    """Whether the bytes are one whole pickle, as far as its instructions go."""
    stream = io.BytesIO(data)
    try:
        for _ in pickletools.genops(stream):
            pass
    except ValueError:
        return False
    return stream.tell() == len(data)


def mutated_pickle(data: bytes, chance: random.Random) -> bytes:
    """One to four instructions of a pickle changed; what follows the pickle stays."""
    parts = instructions(data)
    rest = data[_length(data) :]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        chance.choice(_WAYS)(parts, chance)
    return b"".join(code for _, code in parts) + rest


def _length(data: bytes) -> int:
    stream = io.BytesIO(data)
    for _ in pickletools.genops(stream):
        pass
    return stream.tell()


def _rename(parts: Instructions, chance: random.Random) -> None:
    """Another name where a class, a function, a key or a tensor is named."""
    at = _any(parts, chance, _TEXTS | {"GLOBAL"})
    if at is None:
        return
    hostile = chance.choice(HOSTILE)
    if parts[at][0] == "GLOBAL":
        parts[at] = "GLOBAL", b"c" + hostile.replace(" ", "\n").encode() + b"\n"
    else:
        others = [code for name, code in parts if name in _TEXTS]
        parts[at] = "BINUNICODE", chance.choice([text(chance.choice(hostile.split())), chance.choice(others)])


def _revalue(parts: Instructions, chance: random.Random) -> None:
    """Another number where a shape, a stride or an option is."""
    at = _any(parts, chance, _CONSTANTS)
    if at is not None:
        values = [b"K\0", b"K\1", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\x7f", b"J\0\0\0\x80", b"G\x7f\xf8" + bytes(6)]
        huge = b"\x8a\x09" + (2**70).to_bytes(9, "little")
        parts[at] = "BININT", chance.choice([*values, huge, b"N", b"\x88", b"]", text("lrelu")])


def _exchange(parts: Instructions, chance: random.Random) -> None:
    """Two values in each other's places."""
    kinds = _CONSTANTS | _TEXTS | {"BINGET", "LONG_BINGET", "BINBYTES", "SHORT_BINBYTES"}
    a, b = _any(parts, chance, kinds), _any(parts, chance, kinds)
    if a is not None and b is not None:
        parts[a], parts[b] = parts[b], parts[a]


def _replace(parts: Instructions, chance: random.Random) -> None:
    """Another instruction that takes and gives as many things."""
    at = chance.randrange(len(parts))
    for alike in _ALIKE:
        if parts[at][1] in alike and parts[at][1]:
            parts[at] = parts[at][0], chance.choice(alike)
            return
    _revalue(parts, chance)


def _inject(parts: Instructions, chance: random.Random) -> None:
    """Something to be called, whose result is dropped: a pickle that is read in the usual way runs it."""
    module, name = chance.choice(HOSTILE).split()
    call = f"c{module}\n{name}\n".encode() + text("touch mark") + b"\x85" + b"R0"
    parts.insert(chance.randrange(1, len(parts)), ("GLOBAL", call))


def _repeat(parts: Instructions, chance: random.Random) -> None:
    """A value that is there already once more, or in place of another."""
    at = _any(parts, chance, {"BINGET", "LONG_BINGET"})
    if at is not None:
        parts[at] = "BINGET", b"h" + bytes([chance.randrange(256)])


def _within(parts: Instructions, chance: random.Random) -> None:
    """A change in what a string of bytes holds: a pickle again, or numbers."""
    at = _any(parts, chance, {"BINBYTES", "SHORT_BINBYTES"})
    if at is None:
        return _rename(parts, chance)
    content = parts[at][1][5 if parts[at][0] == "BINBYTES" else 2 :]
    if content[:1] == b"\x80" and chance.random() < 0.8:
        skip = chance.choice([0, 3]) * _length(content)  # the first of them, or what comes later
        try:
            content = content[:skip] + mutated_pickle(content[skip:], chance)
        except ValueError:
            content = mutated_pickle(content, chance)
    else:
        content = content[: chance.randrange(len(content) + 1)] + chance.choice([b"", bytes(8)])
    parts[at] = "BINBYTES", b"B" + len(content).to_bytes(4, "little") + content
    return None


def text(value: str) -> bytes:
    """The instruction for a text."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def _any(parts: Instructions, chance: random.Random, kinds: set[str]) -> int | None:
    places = [at for at, (name, _) in enumerate(parts) if name in kinds]
    return chance.choice(places) if places else None


_WAYS: list[Callable[[Instructions, random.Random], None]] = [
    _rename,
    _revalue,
    _exchange,
    _replace,
    _inject,
    _repeat,
    _within,
]
