"""Odd values for the fields of a format: sizes, names, nests and fillings that nobody would write."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

NAMES = [
    *("", ".", "..", "/", "a/", "../x.png", "/etc/x.png", "C:\\x.png", "a\\b.png", "a//b.png", "./a.png", "A.PNG"),
    *("x\x1b]0;owned\x07.png", "x\n.png", "x\r.png", "\u202egnp.x", "x\x00.png", "é.png", "e\u0301.png", "猫.png"),
    *(
        "__MACOSX/._a.png",
        ".DS_Store",
        "http:127.0.0.1:9?x=.png",
        "-",
        "a" * 300 + ".png",
        "dataset.json",
        "DATASET.JSON",
    ),
    *("00000/img00000000.png", "nul.png", "a.jfif", "a.heic", "a.svg", "a.avif", "a.mp4"),
]
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    255,
    256,
    2**15,
    2**16 - 1,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**64 - 1,
]


def number(chance: random.Random, bits: int, true: int = 0) -> int:
    """An odd number that fits into so many bits, sometimes next to the true one."""
    near = [true + d for d in (-1, 1)] + [true * 2, true // 2]
    return chance.choice([chance.choice(NUMBERS), chance.choice(near), chance.getrandbits(bits)]) % 2**bits


def name(chance: random.Random) -> str:
    return chance.choice(NAMES)


def nest(chance: random.Random) -> str:
    """JSON text that is deep, long, huge or of the wrong kind."""
    return chance.choice(_NESTS)()


_NESTS: list[Callable[[], str]] = [
    lambda: "[" * 100_000 + "]" * 100_000,
    lambda: '{"a":' * 50_000 + "1" + "}" * 50_000,
    lambda: '{"labels": ' + "[" * 90_000 + "]" * 90_000 + "}",
    lambda: "1" * 5_000,
    lambda: f'{{"labels": [["00000/img00000000.png", {"9" * 400}]]}}',
    lambda: '{"labels": [["00000/img00000000.png", 1e999]], "class_names": 7}',
    lambda: json.dumps({"labels": [[f"{i}", i] for i in range(50_000)]}),
    lambda: json.dumps({"labels": None, "class_names": ["a"] * 200_000}),
    lambda: json.dumps({"labels": [["\x1b[2J", 0]], "class_names": ["\x1b]0;x\x07", "b\nc"]}),
    lambda: '{"labels": {"a": NaN}}',
    lambda: "null",
    lambda: "\ufeff{}",
    lambda: '"' + "x" * 2**20,
    lambda: "",
]


def value(chance: random.Random, deep: bool = True) -> Any:
    """An odd value of JSON."""
    plain: list[Any] = [
        None,
        True,
        -1,
        0,
        1,
        1.5,
        2**31,
        10**400,
        float("inf"),
        float("nan"),
        "",
        "\x1b[2J",
        "x\ny",
        "12",
    ]
    nests: list[Any] = [[], {}, [1], [[[]]], {"a": []}, ["a"] * 100_000, {str(i): i for i in range(20_000)}, _deep(300)]
    return chance.choice([*plain, *nests] if deep else plain)


def _deep(levels: int) -> Any:
    found: Any = 0
    for _ in range(levels):
        found = [found]
    return found


@cache
def zeros(mebibytes: int) -> bytes:
    """A raw deflate stream of so many zeros."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(mebibytes)) + packer.flush()


def png_with(chance: random.Random, whole: bytes) -> bytes:
    """A PNG whose chunks have true sums and odd contents: huge sizes, texts and profiles that unpack to much."""
    signature, rest = whole[:8], whole[8:]
    chunks = list(_chunks(rest))
    at = chance.randrange(len(chunks))
    kind, data = chunks[at]
    way = chance.choice(["size", "bomb", "text", "kind", "cut", "twice", "depth"])
    if way == "size":
        sizes = struct.pack(">II", number(chance, 32, 16), number(chance, 32, 16))
        chunks[0] = b"IHDR", sizes + chunks[0][1][8:]
    elif way == "depth":
        chunks[0] = b"IHDR", chunks[0][1][:8] + bytes(chance.choice([0, 1, 2, 3, 4, 6, 8, 16]) for _ in range(5))
    elif way == "bomb":
        packed = zlib.compress(bytes(2**20)) if chance.random() < 0.5 else _zlib_bomb()
        chunks.insert(1, (chance.choice([b"zTXt", b"iCCP", b"iTXt"]), b"x\0\0" + packed))
    elif way == "text":
        chunks.insert(1, (b"tEXt", b"x\0" + bytes(chance.choice([10, 2**20, 2**24]))))
    elif way == "kind":
        chunks[at] = chance.choice([b"acTL", b"fcTL", b"PLTE", b"tRNS", b"eXIf", b"abcd", b"\0\0\0\0"]), data
    elif way == "cut":
        chunks[at] = kind, data[: len(data) // 2]
    else:
        chunks.insert(at, chunks[at])
    return signature + b"".join(_chunk(*chunk) for chunk in chunks)


@cache
def _zlib_bomb() -> bytes:
    return zlib.compress(bytes(2**27), 9)


def _chunks(data: bytes):
    place = 0
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
