"""TFRecords, LMDB, parquet, MNIST, CIFAR, NumPy arrays and label files with odd contents and true sums."""

import gzip
import io
import json
import random
import shutil
import struct
import zlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from tests.imaging.sources import files
from tests.proofs.damage import damaged
from tests.proofs.fuzz import odd
from tests.proofs.mutation import is_pickle, mutated_pickle
from tests.proofs.test_damage import picture

CELLS = ["1.0", "1e400", "-0", "0x10", "\u0661", "9" * 5000, "nan", "", '"', "\x1b[2J", "a\rb", "1_0", "x" * 200_000]
PAGE = 4096  # bytes of a page of LMDB


def _pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (count, *shape), np.uint8)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _field(number: int, data: bytes, kind: int = 2, length: int | None = None) -> bytes:
    return _varint(number << 3 | kind) + _varint(len(data) if length is None else length) + data


def _odd_example(chance: random.Random) -> bytes:
    pixels = _pixels(1, 3, 4, 4)[0]
    way = chance.choice(["shape", "length", "name", "damage", "repeat", "kind", "data", "names"])
    if way == "damage":
        return damaged(files.example(pixels), chance)
    if way == "repeat":
        return files.example(pixels) * chance.choice([2, 200])
    if way == "kind":
        return _field(1, files.example(pixels), kind=chance.randrange(8))
    if way == "length":
        return _field(1, b"abc", length=odd.number(chance, 64, 3))
    numbers = list(pixels.shape)
    if way == "shape":
        numbers = chance.choice([[odd.number(chance, 64) for _ in range(3)], [], [4], [3, 4], [1] * 40, [3, 0, 2**40]])
    shape = _field(3, _field(1, b"".join(map(_varint, numbers))))
    data = pixels.tobytes() if way != "data" else chance.choice([b"", b"a" * 47, bytes(2**20)])
    entries = {b"shape": shape, b"data": _field(1, _field(1, data))}
    if way == "name":
        entries |= {odd.name(chance).encode("utf-8", "surrogatepass"): shape}
        del entries[chance.choice([b"shape", b"data"])]
    if way == "names":
        entries = {b"\x1b[2J%d" % i: shape for i in range(20_000)}
    return _field(1, b"".join(_field(1, _field(1, name) + _field(2, value)) for name, value in entries.items()))


def odd_tfrecords(chance: random.Random, folder: Path) -> Path:
    records = [files.record(files.example(pixels)) for pixels in _pixels(5, 3, 4, 4)]
    way = chance.choice(["example", "example", "example", "head", "labels"])
    at = chance.randrange(len(records))
    if way == "example":
        records[at] = files.record(_odd_example(chance))
    elif way == "head":
        length = struct.pack("<Q", odd.number(chance, 64, 60))
        records[at] = length + struct.pack("<I", files.masked_crc32c(length)) + records[at][12:]
    else:
        (folder / "x-r02.labels").write_bytes(_odd_npy(chance))
    path = folder / "x-r02.tfrecords"
    path.write_bytes(b"".join(records))
    return folder if chance.random() < 0.5 else path


def _odd_npy(chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(5))
    data = buffer.getvalue()
    heads = [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2147483647, 4)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (5,)}",
        "{'descr': [('a', '<i8')] , 'fortran_order': False, 'shape': (5,)}",
        "{'descr': '<i8', 'fortran_order': True, 'shape': (-5,)}",
        "{'descr': '|V8', 'fortran_order': False, 'shape': (5,)}",
        "{'descr': '<U2', 'fortran_order': False, 'shape': (5,)}",
        "{'descr': '<c16', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': " + "(" * 3000 + "}",
        "(" * 5000,
        "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (5,)}",
        "[1, 2",
    ]
    if chance.random() < 0.3:
        return damaged(data, chance)
    head = chance.choice(heads).encode() + b"\n"
    version = chance.choice([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"])
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(head))
    return b"\x93NUMPY" + version + length + head + bytes(40)


def odd_latents(chance: random.Random, folder: Path) -> Path:
    """A projected-w.npz, or a .npy, of odd arrays in an archive whose sums are true or not."""
    arrays: dict[str, Any] = {"w": np.zeros([2, 4, 8], np.float32)}
    way = chance.choice(["npy", "npz", "packed", "damage", "key", "shape", "type", "values"])
    if way == "npy":
        path = folder / f"{folder.name}.npy"
        path.write_bytes(_odd_npy(chance))
        return path
    path = folder / f"{folder.name}.npz"
    if way == "npz":
        from tests.proofs.fuzz.archives import stored, zip_of

        path.write_bytes(zip_of([stored("w.npy", _odd_npy(chance))]))
        return path
    if way == "packed":
        from tests.proofs.fuzz.archives import Member, zip_of

        member = Member(b"w.npy", odd.zeros(chance.choice([1, 1500])), 2**20 * 1500, chance.choice([8, 12, 14, 99]))
        path.write_bytes(zip_of([member]))
        return path
    if way == "key":
        arrays = {chance.choice(["x", "noise0", "w/../w", "\x1b[2J"]): arrays["w"]}
    elif way == "shape":
        shape = chance.choice([(), (0,), (8,), (3, 8), (4, 8), (2, 4, 9), (1, 1, 1, 1), (0, 4, 8), (1,) * 30])
        arrays["w"] = np.zeros(shape, np.float32)
    elif way == "type":
        arrays["w"] = arrays["w"].astype(chance.choice(["f8", "f2", "i4", "U3", "c8", "?", "g"]))
    elif way == "values":
        arrays["w"][0, 0, 0] = chance.choice([np.nan, np.inf, 3e38])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(damaged(buffer.getvalue(), chance) if way == "damage" else buffer.getvalue())
    return path


@cache
def _lmdb() -> bytes:
    import lmdb

    place = Path(mkdtemp(prefix="lsun-"))
    try:
        with lmdb.open(str(place), map_size=2**20) as environment, environment.begin(write=True) as transaction:
            for i in range(40):
                transaction.put(f"{i:040d}".encode(), picture(i, "WEBP") * (1 + 9 * (i % 2)))
        return (place / "data.mdb").read_bytes()
    finally:
        shutil.rmtree(place)


def odd_lmdb(chance: random.Random, folder: Path) -> Path:
    """A database in which fields of page headers, of meta pages or of nodes are odd, or that is cut short."""
    data = bytearray(_lmdb())
    pages = len(data) // PAGE
    for _ in range(chance.choice([1, 1, 2, 5])):
        page = chance.randrange(pages) * PAGE
        way = chance.choice(["header", "meta", "pointer", "node", "noise", "cut"])
        if way == "header":
            place, size = chance.choice([(0, 8), (8, 2), (10, 2), (12, 2), (14, 2)])
        elif way == "meta":
            page, (place, size) = chance.choice([0, PAGE]), chance.choice([(16 + 8 * k, 8) for k in range(17)])
        elif way == "pointer":
            place, size = 16 + 2 * chance.randrange(40), 2
        elif way == "node":
            place, size = chance.randrange(PAGE // 8) * 8, chance.choice([2, 4, 8])
        else:
            place, size = chance.randrange(PAGE), min(64, len(data) - page)
        if way == "cut":
            del data[chance.randrange(1, len(data)) :]
            pages = max(len(data) // PAGE, 1)
            continue
        value = chance.randbytes(size) if way == "noise" else odd.number(chance, 8 * size).to_bytes(size, "little")
        data[page + place : page + place + size] = value
    (folder / "data.mdb").write_bytes(bytes(data))
    return folder


def odd_parquet(chance: random.Random, folder: Path) -> Path:
    """A table of pictures with odd columns, odd metadata, or a damaged footer."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = [{"bytes": picture(i, "PNG"), "path": f"{i}.png"} for i in range(4)]
    table = pa.table({"image": rows, "label": [0, 1, 0, 1]})
    way = chance.choice(["columns", "meta", "footer", "values", "labels", "damage"])
    features = {
        "info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}}
    }
    if way == "columns":
        table = chance.choice(
            [
                pa.table({"image": [[1, 2], None], "label": [1.5, None]}),
                pa.table({"image": ["a", "b"]}),
                pa.table({"image": rows[:0], "label": pa.array([], pa.int64())}),
                pa.table({"label": [1]}),
                pa.table({"image": [{"bytes": None, "path": "/etc/passwd"}], "label": [0]}),
                pa.table({"image": [{"bytes": b"", "path": None}], "label": ["\x1b[2J"]}),
                pa.table({"image": pa.array([picture(0, "PNG")] * 3).dictionary_encode(), "label": [0, 1, 2]}),
            ]
        )
    elif way == "values":
        rows[1]["bytes"] = odd.png_with(chance, picture(0, "PNG"))
        table = pa.table({"image": rows, "label": [0, 1, 0, 1]})
    elif way == "labels":
        table = pa.table({"image": rows, "label": chance.choice([[-1, 0, 1, 2], [2**62, 0, 1, 2], [None, 0, 1, 1]])})
    text = odd.nest(chance) if way == "meta" else json.dumps(features)
    table = table.replace_schema_metadata({"huggingface": text.encode("utf-8", "surrogatepass")})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    data = buffer.getvalue()
    if way == "footer":
        (length,) = struct.unpack("<I", data[-8:-4])
        footer = bytearray(data[-8 - length : -8])
        for _ in range(chance.choice([1, 2, 8])):
            footer[chance.randrange(len(footer))] = chance.randrange(256)
        said = chance.choice([length, length, odd.number(chance, 32, length)])
        data = data[: -8 - length] + bytes(footer) + struct.pack("<I", said) + b"PAR1"
    elif way == "damage":
        data = damaged(data, chance, first=4)
    path = folder / f"{folder.name}.parquet"
    path.write_bytes(data)
    return path


def odd_mnist(chance: random.Random, folder: Path) -> Path:
    pixels = _pixels(5, 8, 8)
    head = struct.pack(">HBB3I", 0, 8, 3, *pixels.shape)
    way = chance.choice(["sizes", "bomb", "labels", "damage", "dimensions"])
    data = head + pixels.tobytes()
    if way == "sizes":
        data = struct.pack(">HBB3I", 0, 8, 3, *(odd.number(chance, 32, 8) for _ in range(3))) + pixels.tobytes()
    elif way == "dimensions":
        data = struct.pack(">HBB", 0, chance.choice([8, 9, 13]), chance.choice([0, 1, 2, 4, 255])) + bytes(1100)
    elif way == "damage":
        data = damaged(data, chance)
    path = folder / "train-images-idx3-ubyte.gz"
    if way == "bomb":
        count = chance.choice([2**24, 2**16, 2**32 - 1])
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        block = bytes(2**20)
        start = packer.compress(struct.pack(">HBB3I", 0, 8, 3, count, 32, 32))
        path.write_bytes(start + b"".join(packer.compress(block) for _ in range(1500)) + packer.flush())
    else:
        path.write_bytes(gzip.compress(data))
    labels = (
        files.idx(np.arange(5, dtype=np.uint8))
        if way != "labels"
        else damaged(files.idx(np.zeros(5, np.uint8)), chance)
    )
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(labels)
    return folder if chance.random() < 0.5 else path


def odd_cifar(chance: random.Random, folder: Path) -> Path:
    """Batches whose pickles are changed instruction by instruction, packed or not."""
    batches = files.cifar_files(_pixels(10, 3, 32, 32), [i % 3 for i in range(10)])
    for _ in range(chance.choice([1, 1, 2])):
        name = chance.choice([name for name in batches if "test" not in name])
        data = batches[name]
        batches[name] = (
            mutated_pickle(data, chance) if is_pickle(data) and chance.random() < 0.9 else damaged(data, chance)
        )
    if chance.random() < 0.5:
        path = folder / f"{folder.name}.tar.gz"
        return files.tarred(path, batches, "gz")
    for name, data in batches.items():
        place = folder / "set" / name.rpartition("/")[2]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
    return folder / "set"


def odd_labels(chance: random.Random, folder: Path) -> Path:
    names = [f"{i}.png" for i in range(4)]
    if chance.random() < 0.5:
        path = folder / f"{folder.name}.json"
        text = odd.nest(chance) if chance.random() < 0.5 else json.dumps({name: odd.value(chance) for name in names})
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        return path
    path = folder / f"{folder.name}.csv"
    lines = [name + chance.choice(",;\t") + chance.choice(CELLS) + "\n" for name in names]
    path.write_bytes("".join(lines).encode() + chance.choice([b"", b"", b"\0", b"\xff"]))
    return path
