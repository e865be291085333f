"""Pickles and torch files that grow: tables that share themselves, keys that cannot be hashed, records of two names."""

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

from tests.proofs import torchmutation
from tests.proofs.fuzz import odd
from tests.proofs.fuzz.archives import Member, stored, zip_of
from tests.proofs.mutation import instructions

LEVELS = 60


def _twice(opening: bytes, pair: bytes) -> bytes:
    """A nest of which each level holds the one below twice: 2^60 visits for whoever follows both."""
    out = opening + b"r" + struct.pack("<I", 5_000_000)
    for level in range(LEVELS):
        at = struct.pack("<I", 5_000_000 + level)
        out += b"0" + pair.replace(b"@", b"j" + at) + b"r" + struct.pack("<I", 5_000_001 + level)
    return out


def growing(chance: random.Random) -> bytes:
    """Instructions that leave one value on the stack: a nest that is small in the file and endless to visit."""
    return chance.choice(
        [
            _twice(b")", b"@@\x86"),  # tuples of tuples: hash() never ends
            _twice(b"]", b"](@@e"),  # lists of lists: str() never ends
            _twice(b"}", b"}(K\1@K\2@u"),
            b"]" * 20_000 + b"a" * 19_999,
            b"(" + b"K\1" * 300_000 + b"t",
            b"\x8a\xff" + b"\x7f" * 255,
            b"\x8b" + struct.pack("<I", 2**20) + b"\x7f" * 2**20,
            b"X" + struct.pack("<I", 2**20) + b"\x1b" * 2**20,
        ]
    )


def grown(data: bytes, chance: random.Random) -> bytes:
    """A pickle with a growing value in the place of a plain one, or as a key."""
    parts = instructions(data)
    places = [at for at, (name, _) in enumerate(parts) if name in _PLAIN]
    for _ in range(chance.choice([1, 1, 3])):
        parts[chance.choice(places)] = "", growing(chance)
    return b"".join(code for _, code in parts)


_PLAIN = {"BININT", "BININT1", "BININT2", "NONE", "NEWTRUE", "NEWFALSE", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}


def torch_zip(contents, chance: random.Random, folder: Path) -> Path:
    """A file of torch.save: its archive is odd, or its pickle grows, or its storages claim what is not there."""
    with zipfile.ZipFile(io.BytesIO(torchmutation.whole(contents, zipped=True))) as archive:
        members = [stored(name, archive.read(name)) for name in archive.namelist()]
    names = [member.name for member in members]
    at = names.index(torchmutation.PICKLE.encode())
    pickle = members[at].data
    way = chance.choice(["grow", "twins", "case", "local", "prefix", "field", "end", "bomb", "deep", "numbers"])
    if way == "grow":
        members[at] = stored(torchmutation.PICKLE, grown(pickle, chance))
    elif way in ("twins", "case"):
        twin = chance.choice(
            [b"archive/DATA.PKL", b"Archive/data.pkl", b"archive/data.pkl", b"archive//data.pkl", b"x/data.pkl"]
        )
        other = stored(twin, b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.")
        members.insert(chance.choice([0, at, at + 1, len(members)]), other)
        if chance.random() < 0.5:
            members.append(stored(chance.choice(names).upper(), b"abc"))
    elif way == "local":
        members[at].local = chance.choice([{"name": b"archive/data.pkx"}, {"size": 3}, {"method": 8}])
    elif way == "prefix":
        members[-1].name = members[-1].name.replace(
            b"archive", chance.choice([b"other", b"", b"archive/archive", b".."])
        )
    elif way == "field":
        member = chance.choice(members)
        setattr(member, chance.choice(["size", "packed_size", "crc", "offset"]), odd.number(chance, 32, 100))
    elif way == "bomb":
        data = odd.zeros(chance.choice([1, 1500]))
        members[chance.choice([at, -1])] = Member(names[at], data, 1500 << 20, 8, crc=zlib.crc32(b""))
    elif way == "deep":
        members[at] = stored(torchmutation.PICKLE, b"\x80\x02" + growing(chance) + b".")
    elif way == "numbers":
        parts = instructions(pickle)
        places = [k for k, (name, _) in enumerate(parts) if name in ("BININT", "BININT1", "BININT2")]
        huge = [b"\x8a\x08" + struct.pack("<q", n) for n in (2**40, -1, -(2**40), 2**62)]
        parts[chance.choice(places)] = "", chance.choice(huge)
        members[at] = stored(torchmutation.PICKLE, b"".join(code for _, code in parts))
    path = folder / f"{folder.name}.pt"
    path.write_bytes(zip_of(members, chance if way == "end" else None))
    return path


def torch_legacy(chance: random.Random, folder: Path) -> Path:
    """The format before 1.6, now and then with an archive behind it, which another parser would take."""
    contents = torchmutation.rosinality_contents
    data = torchmutation.whole(contents, zipped=False)
    start = torchmutation._start(data)
    if chance.random() < 0.7:
        tail = data[start + sum(len(code) for _, code in instructions(data[start:])) :]
        data = data[:start] + grown(data[start:], chance) + tail
    if chance.random() < 0.4:
        data += torchmutation.whole(contents, zipped=True)
    path = folder / f"{folder.name}.pt"
    path.write_bytes(data)
    return path
