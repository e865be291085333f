"""ZIP and tar files, built field by field, so that any field can be odd while the rest is true."""

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.proofs.fuzz import odd
from tests.proofs.test_damage import contents, picture


@dataclass
class Member:
    """A file in a ZIP: `size`, `packed_size` and the like are those of its headers, whatever `data` holds."""

    name: bytes
    data: bytes
    size: int
    method: int = 0
    flags: int = 0
    crc: int = 0
    packed_size: int = -1
    offset: int = -1
    extra: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)  # what the header in front of the data says instead


def zip_of(members: list[Member], chance: random.Random | None = None) -> bytes:
    """The bytes of a ZIP; with `chance` its end record is odd, too."""
    out, directory = b"", b""
    for member in members:
        packed = len(member.data) if member.packed_size < 0 else member.packed_size
        offset = len(out) if member.offset < 0 else member.offset
        say: dict[str, Any] = {
            "name": member.name,
            "flags": member.flags,
            "method": member.method,
            "size": member.size,
        } | member.local
        out += struct.pack(
            "<IHHHHHIIIHH", 0x04034B50, 20, say["flags"], say["method"], 0, 33, member.crc % 2**32, packed % 2**32,
            say["size"] % 2**32, len(say["name"]), len(member.extra),
        )  # fmt: skip
        out += say["name"] + member.extra + member.data
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, member.flags, member.method, 0, 33, member.crc % 2**32,
            packed % 2**32, member.size % 2**32, len(member.name), len(member.extra), 0, 0, 0, 0, offset % 2**32,
        )  # fmt: skip
        directory += member.name + member.extra
    counts, size, place, comment = [len(members)] * 2, len(directory), len(out), b""
    if chance is not None:
        way = chance.choice(["counts", "size", "place", "comment", "front", "twice"])
        if way == "counts":
            counts = [odd.number(chance, 16, len(members)) for _ in range(2)]
        elif way == "size":
            size = odd.number(chance, 32, size)
        elif way == "place":
            place = odd.number(chance, 32, place)
        elif way == "comment":
            comment = chance.choice([b"PK\x05\x06" + bytes(18), bytes(65535), b"\x1b[2J"])
        elif way == "front":
            out = b"#!/bin/sh\n" + out  # a program in front, as in archives that unpack themselves
        else:
            directory, size = directory * 2, size * 2
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, counts[0] % 2**16, counts[1] % 2**16, size, place, len(comment))
    return out + directory + end + comment


def stored(name: str | bytes, data: bytes) -> Member:
    encoded = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
    return Member(encoded, data, len(data), crc=zlib.crc32(data), flags=0x800)


def odd_zip(chance: random.Random, folder: Path) -> Path:
    """An archive of pictures with one or two odd members, or an odd end."""
    members = [stored(name, data) for name, data in contents().items()]
    for _ in range(chance.choice([1, 1, 2])):
        _spoil(members, chance)
    path = folder / f"{folder.name}.zip"
    path.write_bytes(zip_of(members, chance if chance.random() < 0.2 else None))
    return path


def _spoil(members: list[Member], chance: random.Random) -> None:
    at = chance.randrange(len(members))
    member = members[at]
    way = chance.choice(["name", "double", "bomb", "field", "local", "index", "picture", "extra", "offset", "method"])
    if way == "name":
        members[at] = replace(member, name=odd.name(chance).encode("utf-8", "surrogatepass"))
    elif way == "double":
        members.append(replace(member, name=chance.choice([member.name, member.name.upper()])))
    elif way == "bomb":
        mebibytes = chance.choice([1, 600, 1500])
        size = chance.choice([mebibytes << 20, 100, 2**32 - 1])
        members[at] = Member(member.name, odd.zeros(mebibytes), size, 8, 0x800)
    elif way == "field":
        name = chance.choice(["size", "packed_size", "crc"])
        changed: dict[str, Any] = {name: odd.number(chance, 32, getattr(member, name) % 2**32)}
        members[at] = replace(member, **changed)
    elif way == "local":
        said: dict[str, Any] = {"size": odd.number(chance, 32), "name": b"other.png", "method": 8, "flags": 9}
        key = chance.choice(list(said))
        members[at] = replace(member, local={key: said[key]})
    elif way == "index":
        text = odd.nest(chance).encode("utf-8", "surrogatepass")
        members[-1] = stored("dataset.json", text)
        if chance.random() < 0.3:
            packed = zlib.compressobj(9, zlib.DEFLATED, -15)
            text = b'{"labels": [' + b'["a.png", 0],' * 4_000_000 + b"]}"
            data = packed.compress(text) + packed.flush()
            members[-1] = Member(b"dataset.json", data, len(text), 8, 0x800, zlib.crc32(text))
    elif way == "picture":
        members[at] = stored("00000/img00000000.png", odd.png_with(chance, picture(0, "PNG")))
    elif way == "extra":
        zip64 = struct.pack("<HH", 1, chance.choice([0, 8, 24])) + bytes(chance.choice([0, 8, 24]))
        members[at] = replace(member, extra=zip64, size=chance.choice([member.size, 2**32 - 1]))
    elif way == "offset":
        members[at] = replace(member, offset=odd.number(chance, 32, 100))
    else:
        members[at] = replace(
            member, method=chance.choice([1, 8, 9, 12, 14, 93, 99]), flags=chance.choice([0, 1, 8, 0x800])
        )


def tar_header(name: bytes, size: int, kind: bytes = b"0", link: bytes = b"", magic: bytes = b"ustar\x0000") -> bytes:
    """A header with a true checksum."""
    number = size.to_bytes(12, "big", signed=True) if not 0 <= size < 8**11 else b"%011o\0" % size
    if number[0] < 128 and not 0 <= size < 8**11:
        number = bytes([128 | number[0]]) + number[1:]
    block = name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0"
    rest = kind + link[:100].ljust(100, b"\0") + magic
    block = (block + b" " * 8 + rest).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def odd_tar(chance: random.Random, folder: Path) -> Path:
    """A tar, now and then packed, with odd headers among true ones, or a shard of pictures and classes."""
    parts = []
    for i, (name, data) in enumerate(contents().items()):
        parts.append(tar_header(name.encode(), len(data)) + _padded(data))
        if chance.random() < 0.3:
            parts.append(tar_header(f"{i}.cls".encode(), 1) + _padded(b"1"))
    for _ in range(chance.choice([1, 1, 2])):
        parts.insert(chance.randrange(len(parts) + 1), _odd_entry(chance))
    data = b"".join(parts) + bytes(chance.choice([0, 512, 1024, 1024, 1024]))
    packer = chance.choice([None, None, None, gzip.compress, bz2.compress, lzma.compress])
    path = folder / (f"{folder.name}.tar" if packer is None else f"{folder.name}.tar.gz")
    path.write_bytes(packer(data) if packer else data)
    return path


def _odd_entry(chance: random.Random) -> bytes:
    way = chance.choice(["size", "kind", "link", "pax", "long", "sparse", "picture", "name", "hole"])
    name = odd.name(chance).encode("utf-8", "surrogatepass")
    if way == "size":
        return tar_header(b"x.png", chance.choice([-1, -512, 2**20, 2**31, 2**33, 2**62, 8**11]))
    if way == "kind":
        return tar_header(name or b"x", 0, bytes([chance.randrange(256)]))
    if way == "link":
        return tar_header(
            b"x.png", 0, chance.choice([b"1", b"2", b"3", b"4", b"6"]), chance.choice([name, b"/etc/passwd"])
        )
    if way == "pax":
        size = chance.choice(["1", "-5", "9" * 30, "x", "1e9"])
        records = chance.choice(
            [
                b"30 path=" + name + b"\n",
                f"{len(size) + 9} size={size}\n".encode(),
                b"999999999 path=x\n",
                b"5 =x\n",
                b"0 a=b\n",
                b"22 GNU.sparse.size=99\n",
                b"" * 10,
                bytes(chance.choice([600, 2**20])),
            ]
        )
        return tar_header(b"x", chance.choice([len(records), 2**32, 2**20]), chance.choice([b"x", b"g"])) + _padded(
            records
        )
    if way == "long":
        text = chance.choice([name, b"a" * 5000, b""])
        return tar_header(
            b"././@LongLink", chance.choice([len(text), 2**32, 2**40]), chance.choice([b"L", b"K"])
        ) + _padded(text)
    if way == "sparse":
        return tar_header(b"x.png", 512, b"S", magic=b"ustar  \0") + bytes(512)
    if way == "picture":
        data = odd.png_with(chance, picture(1, "PNG"))
        return tar_header(b"y.png", len(data)) + _padded(data)
    if way == "name":
        return tar_header(name, 0)
    return bytes(512 * chance.choice([1, 2, 7]))


def tar_bomb(chance: random.Random, folder: Path) -> Path:
    """A packed tar of a few megabytes, in which one header has gigabytes of a name, a record or a picture."""
    kind = chance.choice([b"L", b"K", b"x", b"g", b"0"])
    header = tar_header(chance.choice([b"x.png", b"././@LongLink", b"dataset.json"]), 3 << 30, kind)
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    path = folder / f"{folder.name}.tar.gz"
    with path.open("wb") as file:
        file.write(packer.compress(_true_head() + header))
        block = bytes(2**20)
        for _ in range(3072):
            file.write(packer.compress(block))
        file.write(packer.flush())
    return path


def _true_head() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = picture(0, "PNG")
        member = tarfile.TarInfo("a.png")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        end = buffer.tell()
    return buffer.getvalue()[:end]


def odd_folder(chance: random.Random, folder: Path) -> Path:
    """Pictures among links, pipes and odd names."""
    import os

    for name, data in contents().items():
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    place = folder / "set"
    way = chance.choice(["loop", "loops", "pipe", "index", "picture", "name", "dangling", "zeros"])
    if way == "loop":
        (place / "a").mkdir()
        (place / "a" / "b").symlink_to(place)
    elif way == "loops":
        (place / "a").mkdir()
        (place / "c").mkdir()
        for i in range(2):
            (place / "a" / f"b{i}").symlink_to("../c")
            (place / "c" / f"d{i}").symlink_to("../a")
    elif way == "pipe":
        os.mkfifo(place / chance.choice(["x.png", "data.mdb", "x.mp4", "x.parquet", "x-r04.tfrecords", "y.jpg"]))
    elif way == "index":
        (place / "dataset.json").write_text(odd.nest(chance), encoding="utf-8", errors="surrogatepass")
    elif way == "picture":
        (place / "00000" / "img00000000.png").write_bytes(odd.png_with(chance, picture(0, "PNG")))
    elif way == "name":
        name = odd.name(chance).replace("/", "_").replace("\0", "_")[:200]
        (place / (name if name not in ("", ".", "..") else "x.png")).write_bytes(picture(1, "PNG"))
    elif way == "dangling":
        (place / "x.png").symlink_to("nowhere.png")
    else:
        with (place / "x.png").open("wb") as file:
            file.truncate(chance.choice([0, 2**20, 2**33]))  # a hole
    return place
