"""Files made to do harm: each is one sentence, soon, in little memory."""

import bz2
import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib

import numpy as np
import pytest

from imaging.sources.arraypickle import read_arrays
from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, picture, write_folder
from tests.imaging.sources.files import cifar_files, python2_pickle, tarred
from tests.imaging.sources.reading import RGB, equal, failure, pixels

LIMIT = 1 << 30  # bytes of memory that opening may take beyond what is taken already
TAKE = """
import resource, sys
from pathlib import Path
from imaging.sources.recognition import open_source
from imaging.sources.jobs import jobs
from imaging.sources.source import SequentialSource
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]),) * 2)
try:
    source = open_source(sys.argv[1])
    source.labels()
    if not isinstance(source, SequentialSource):
        for i in range(len(source.names)):
            try:
                source.header_of(i)
                source.read(i)
            except ValueError as error:
                print("image:", error)
    print("opened", len(source.names))
except (ValueError, FileNotFoundError) as error:
    print("refused:", error)
"""


def taken_alone(path, limit=LIMIT):
    """What a process of its own, with little memory and time, says of a source."""
    command = [sys.executable, "-c", TAKE, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# CIFAR


class State:
    """Gives an object of numpy a state of the test's choosing."""

    def __init__(self, made, state):
        self.made, self.state = made, state

    def __reduce__(self):
        return (*self.made, self.state)


def dtype_with(state):
    return State((np.dtype, ("u1", False, True)), state)


ARRAY = (np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"))
UNSAFE = (3, "|", None, ("x",), {"x": (np.dtype("u1"), 0)}, 8, 1, 63)  # references to count, at addresses of the file


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (State(ARRAY, (1, (1,), dtype_with(UNSAFE), False, b"A" * 8)), "it has an array of a special type"),
        (State(ARRAY, (1, (1,), np.dtype("O"), False, b"A" * 8)), "it has an array of O8, expected bytes (u1)"),
        (np.zeros(3), "it has an array of f8, expected bytes (u1)"),
        (State(ARRAY, (1, (2**62,), np.dtype("u1"), False, b"A")), "it has an array whose shape is damaged"),
        (State(ARRAY, (1, (2**30,), np.dtype("u1"), False, b"A")), "it has an array of shape [1073741824] with 1 byte"),
        (State(ARRAY, (1, (-1, -1), np.dtype("u1"), False, b"A")), "it has an array whose shape is damaged"),
        (State(ARRAY, 7), "it has an array whose description is damaged"),
        (State((np.ndarray, ((3,), "u1")), (1, (3,), np.dtype("u1"), False, b"abc")), "it makes an array in a way"),
    ],
)
def test_arrays_of_a_pickle_are_bytes_or_nothing(value, why):
    with pytest.raises(ValueError) as error:
        read_arrays(pickle.dumps({b"data": value}, 3))
    assert why in str(error.value)


def with_a_key_of_tuples(depth):
    """{key: 1} with a key whose hash would take 2^depth steps."""
    steps = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(depth))
    return b"\x80\x02(}q\xff" + b")q\0" + steps + b"1h\xffh%cK\x01s." % depth


ODD_PICKLES = [
    with_a_key_of_tuples(59),
    pickle.dumps({b"labels": {(1, 2): 3}}, 4),
    pickle.dumps({2**70: 3}, 4),
    pickle.dumps({frozenset([1]): 3}, 4),
    b"\x80\x02" + b"(" * 10**6 + b".",
    b"\x80\x02" + b"]q\0" + b"h\0a" * 10 + b".",
    b"\x80\x02" + b"]" * 10**6 + b".",
    b"\x80\x02.",
    b"\x80\x02}q\x00Ra.",
    b"\x80\x02K\x01(u.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    b"cos\nsystem\n(S'id'\ntR.",
    b"\x80\x02h\x05.",
    b"\x80\x02\x82\x01.",
    b"\x80\x02X\xff\xff\xff\xffabc.",
    b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
]


@pytest.mark.parametrize("number", range(len(ODD_PICKLES)))
def test_odd_pickles_are_refused_at_once(number):
    with pytest.raises(ValueError) as error:
        read_arrays(ODD_PICKLES[number])
    assert len(str(error.value)) < 300


def test_a_list_that_holds_itself_is_read_and_not_spelled(tmp_path):
    twice = [b"a"]
    for _ in range(60):
        twice = [twice, twice]
    names = python2_pickle({b"label_names": twice})
    _, files = np.zeros(0), cifar_files(np.zeros((10, 3, 32, 32), np.uint8), [0] * 10)
    source = open_source(tarred(tmp_path / "c.tar.gz", files | {"cifar-10-batches-py/batches.meta": names}, "gz"))
    assert source.labels().class_names[0] == "a value of type list"


def test_damaged_cifar_is_one_sentence_wherever_the_damage_is():
    whole = python2_pickle({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 3]})
    random = np.random.RandomState(0)
    for _ in range(300):
        data = bytearray(whole)
        for place in random.randint(0, 200, 2):
            data[place] = random.randint(256)
        try:
            read_arrays(bytes(data))
        except ValueError as error:
            assert len(str(error)) < 300


# tar


def header(name, size, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def zeros(file, count):
    for _ in range(count >> 20):
        file.write(bytes(1 << 20))


@pytest.mark.parametrize("packer", [gzip.open, bz2.open])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_refused(tmp_path, packer, kind):
    path = tmp_path / ("a.tar.gz" if packer is gzip.open else "a.tar.bz2")
    with packer(path, "wb") as file:
        file.write(header("././@LongLink", 2**32, kind))
        zeros(file, 2**25)
    assert taken_alone(path) == (
        f"refused: {path} is not a complete tar file (a header has {2**32} bytes): copy or make it again\n"
    )


def test_many_headers_that_hold_for_all_files_are_refused(tmp_path):
    facts = [b"%d %s=%s\n" % (1024, b"k%04d" % i, b"v" * 1012) for i in range(200)]
    blocks = [header("g", 1024, tarfile.XGLTYPE) + fact + header("a.png", 0, tarfile.REGTYPE) for fact in facts]
    (tmp_path / "a.tar").write_bytes(b"".join(blocks) + bytes(1024))
    assert "is not a complete tar file (too many headers for all files)" in failure(tmp_path / "a.tar")


def test_a_chain_of_long_names_is_one_sentence(tmp_path):
    block = header("././@LongLink", 5, tarfile.GNUTYPE_LONGNAME) + b"a.png".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(block * 5000 + header("a.png", 0, tarfile.REGTYPE) + bytes(1024))
    assert failure(tmp_path / "a.tar").endswith("(it is nested too deeply): copy or make it again")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2"])
def test_a_picture_of_gigabytes_is_named_and_not_read(tmp_path, name):
    good = encoded(picture())
    packer = {".gz": gzip.open, ".bz2": bz2.open}.get(name[-3:] if name.endswith("gz") else name[-4:], open)
    with packer(tmp_path / name, "wb") as file:
        file.write(header("a.png", len(good), tarfile.REGTYPE) + good + bytes(-len(good) % 512))
        file.write(header("b.png", 2**33, tarfile.REGTYPE))
        if packer is open:
            file.truncate(file.tell() + 2**33)
            file.seek(0, os.SEEK_END)
            file.write(bytes(1024))
    told = taken_alone(tmp_path / name)
    if packer is open:
        assert f"image: b.png in {tmp_path / name} has {2**33} bytes, but at most {3 * 2**28} are accepted" in told
    else:
        refusal = f"refused: b.png in {tmp_path / name} has {2**33} bytes, but at most {3 * 2**28} are acc"
        assert told.startswith(refusal)


def test_holes_and_links_in_a_tar_are_passed_over_and_named(tmp_path):
    good = encoded(picture())
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = len(good)
        tar.addfile(info, io.BytesIO(good))
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = (tmp_path / "a.tar").read_bytes()
    sparse = tarfile.TarInfo("c.png")
    sparse.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(sparse.tobuf(tarfile.GNU_FORMAT) + data)
    source = open_source(tmp_path / "a.tar")
    assert source.names == ("a.png",)
    assert source.notes == ["links and files with holes are skipped: c.png and 1 more; pack the files themselves"]


# ZIP


def zip_of_zeros(path, name, count, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as container:
        container.writestr("a.png", encoded(picture()))
        with container.open(name, "w") as file:
            zeros(file, count)
    return path


def saying(path, before, now):
    """The last file of a ZIP claims another size in the directory."""
    data = path.read_bytes()
    entry = data.rindex(b"PK\1\2")
    path.write_bytes(data[:entry] + data[entry:].replace(struct.pack("<I", before), struct.pack("<I", now), 1))
    return path


@pytest.mark.parametrize("name", ["b.webp", "b.png"])
def test_a_picture_of_gigabytes_in_a_zip_is_refused_by_its_size(tmp_path, name):
    path = saying(zip_of_zeros(tmp_path / "a.zip", name, 2**20), 2**20, 3 << 30)
    told = taken_alone(path)
    assert told.splitlines()[0] == f"image: {name} in {path} has {3 << 30} bytes, but at most {3 * 2**28} are accepted"


def test_a_size_that_lies_is_not_believed(tmp_path):
    path = saying(zip_of_zeros(tmp_path / "a.zip", "b.png", 2**29), 2**29, 100)
    assert "opened 2" in taken_alone(path, 2**28)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packers_that_unpack_gigabytes_at_once_are_refused(tmp_path, method):
    source = open_source(zip_of_zeros(tmp_path / "a.zip", "b.png", 2**20, method))
    for ask in (source.read, source.header_of):
        with pytest.raises(ValueError, match=r": make the ZIP again with deflate$"):
            ask(1)


def test_a_dataset_json_of_far_more_than_its_pictures_need_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("a.png", encoded(picture()))
        with container.open("dataset.json", "w") as file:
            file.write(b'{"labels": [' + b'["a.png", 0], ' * 10)
            for _ in range(300):
                file.write(b"[[[],[]],[]], " * (1 << 16))
    told = taken_alone(path)
    assert told.startswith("refused: dataset.json in ") and "bytes, but at most 16778240 are accepted" in told


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_png_with_a_text_of_gigabytes(tmp_path):
    good = encoded(picture())
    write_folder(tmp_path / "in", {"a.png": good})
    with (tmp_path / "in" / "b.png").open("wb") as file:
        file.write(good[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt")
        file.truncate(2**31)
    with (tmp_path / "in" / "c.png").open("wb") as file:
        file.write(good[:33] + struct.pack(">I", 2**29) + b"tEXt")
        file.truncate(2**29 + 100)
    told = taken_alone(tmp_path / "in")
    assert f"image: b.png in {tmp_path / 'in'} has {2**31} bytes, but at most {3 * 2**28} are accepted" in told
    assert "image: c.png cannot be decoded: more than 64 MB of it would have to be read" in told


# MNIST, TFRecords, LSUN, videos, parquet


def test_an_idx_file_that_claims_gigabytes(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 2**24, 32, 32))
        zeros(file, 2**25)
    assert taken_alone(path) == (
        f"refused: {path} claims to hold {2**34} bytes, but at most {2**30} are read: give another\n"
    )
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 2**20, 32, 32) + bytes(1000))
    assert taken_alone(path) == f"refused: {path} is not complete (1000 of {2**30} bytes): get it again\n"


@pytest.mark.parametrize(
    "name", ["data.mdb", "a.png", "a-r04.tfrecords", "a.parquet", "a.mp4", "train", "x-images-idx3-ubyte"]
)
def test_pipes_are_never_opened(tmp_path, name):
    folder = write_folder(tmp_path / "in", {"sub/a.png": encoded(picture())})
    os.mkfifo(folder / name)
    if name == "train":
        (folder / "meta").write_bytes(b"x")
    told = taken_alone(folder)
    assert told.startswith("refused:") or told == "opened 1\n"
    assert taken_alone(folder / name).startswith(f"refused: {folder / name} is a folder, a pipe or a device")


def test_labels_of_tfrecords_with_a_shape_of_their_own(tmp_path):
    from tests.imaging.sources.test_containers import records

    path = records(tmp_path / "a-r04.tfrecords", RGB)
    for shape in ("(6, 999999999999)", "(6,)", "(-1,)", "()"):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        head = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()
        (tmp_path / "a-rxx.labels").write_bytes(head + bytes(40))
        with pytest.raises(ValueError, match="or use --labels none"):
            open_source(path).labels()
    np.savez(tmp_path / "x.npz", a=np.arange(6))
    (tmp_path / "x.npz").rename(tmp_path / "a-rxx.labels")
    with pytest.raises(ValueError, match="or use --labels none"):
        open_source(path).labels()


def damaged_lmdbs(whole):
    random = np.random.RandomState(1)
    yield from (whole[: len(whole) * part // 4] for part in (1, 2, 3))
    for _ in range(12):
        data = bytearray(whole)
        for place in random.randint(0, len(data), 40):
            data[place] = random.randint(256)
        yield bytes(data)


def test_damaged_lmdb_never_ends_the_program(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "db"), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for i in range(60):
            transaction.put(f"{i:04d}".encode(), encoded(picture(64, 64, seed=i)))
    path = tmp_path / "db" / "data.mdb"
    whole = path.read_bytes()
    outcomes = []
    for data in damaged_lmdbs(whole):
        path.write_bytes(data)
        try:
            source = open_source(tmp_path / "db")
        except ValueError as error:
            outcomes.append(str(error))
            continue
        for i in range(len(source.names)):
            try:
                source.read(i)
            except ValueError as error:
                outcomes.append(str(error))
    assert any("the process that reads it crashed" in outcome for outcome in outcomes)
    assert all("is not a complete LMDB database (" in o and "\n" not in o for o in outcomes)
    path.write_bytes(whole)
    source = open_source(tmp_path / "db")
    assert equal(pixels(source, indices=[3]), [picture(64, 64, seed=3)])


@pytest.mark.parametrize("name", ["day1:sea.mkv", "http:127.0.0.1:{port}?x=.mkv", "concat:a|b.mkv", "-i.mkv"])
def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch, name):
    import socket

    from tests.imaging.sources.test_containers import video

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        name = name.format(port=server.getsockname()[1])
        whole = video(tmp_path / "a.mkv", 3)
        (tmp_path / "in").mkdir()
        whole.rename(tmp_path / "in" / name)
        monkeypatch.chdir(tmp_path / "in")
        asked = []
        listening = threading.Thread(target=lambda: asked.append(_accepted(server)))
        listening.start()
        for path in (".", name):
            assert [int(frame.mean()) for frame in pixels(open_source(path))] == [0, 10, 20]
        listening.join()
        assert asked == [None], "nobody asked the server"


def _accepted(server):
    try:
        return server.accept()[1]
    except TimeoutError:
        return None


def test_a_playlist_does_not_reach_the_network(tmp_path):
    (tmp_path / "a.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    assert failure(tmp_path / "a.mp4").startswith(f"{tmp_path / 'a.mp4'} is not a video that can be read (")


def test_parquet_with_deep_json(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    for deep in (b"[" * 200_000, b'{"info":' * 200_000, b'{"info": {"features": ' + b"[" * 99_999):
        table = arrow.table({"image": [{"bytes": encoded(RGB[0]), "path": "a"}]})
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": deep}), tmp_path / "a.parquet")
        assert equal(pixels(open_source(tmp_path / "a.parquet")), RGB[:1])


def test_damaged_parquet_is_one_sentence_wherever_the_damage_is(tmp_path):
    pytest.importorskip("pyarrow")
    from tests.imaging.sources.test_containers import parquet

    path = tmp_path / "a.parquet"
    parquet(path, RGB, ["a", "b"] * 3)
    whole, random = path.read_bytes(), np.random.RandomState(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.randint(len(whole) - 900, len(whole), 3):
            data[place] = random.randint(256)
        path.write_bytes(data)
        try:
            source = open_source(path)
            source.labels()
            list(source.stream(range(len(source.names))))
        except ValueError as error:
            assert "a.parquet" in str(error) and "\n" not in str(error)


ESCAPE = "\x1b]0;owned\x07\r\n\u202e"


def test_names_and_messages_of_files_cannot_steer_a_terminal(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    name = f"a{ESCAPE}.png"
    files = {name: encoded(picture()), f"b{ESCAPE}.png": b"broken"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as container:
        for each, data in files.items():
            container.writestr(each, data)
    tarred(tmp_path / "a.tar", files, "")
    tarred(tmp_path / "b.tar.gz", files, "gz")
    write_folder(tmp_path / "in", files)
    with lmdb.open(str(tmp_path / "db"), map_size=2**20) as environment, environment.begin(write=True) as transaction:
        for each, data in files.items():
            transaction.put(each.encode(), data)
    for path in ("a.zip", "a.tar", "b.tar.gz", "in", "db"):
        source = open_source(tmp_path / path)
        assert len(source.names) == 2 and all(each.isprintable() for each in source.names)
        assert source.header_of(0)[:2] == (16, 16)
        with pytest.raises(ValueError) as error:
            source.header_of(1)
        assert str(error.value).isprintable()
    table = arrow.table({ESCAPE: [1]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert failure(tmp_path / "a.parquet").isprintable()
    from tests.imaging.sources.files import _field, record

    (tmp_path / "a.tfrecords").write_bytes(record(_field(1, _field(1, _field(1, ESCAPE.encode()) + _field(2, b"")))))
    assert failure(tmp_path / "a.tfrecords").isprintable()


@pytest.mark.parametrize("name", ["a.png", "a.mp4"])
@pytest.mark.parametrize("size", [2**33, 2**62, 2**70, -512, -1024])
@pytest.mark.parametrize("packer", [gzip.open, bz2.open, open])
def test_odd_sizes_in_a_tar_end(tmp_path, packer, size, name):
    path = tmp_path / ("a.tar" if packer is open else "a.tar.gz")
    with packer(path, "wb") as file:
        file.write(header(name, size, tarfile.REGTYPE) + bytes(2048))
    assert str(path) in failure(path)
