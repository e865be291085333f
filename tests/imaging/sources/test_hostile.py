"""Files made to do harm: each is one sentence, soon, in little memory."""

import gzip
import os
import struct
import threading
import zipfile
import zlib

import pytest

from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, picture, write_folder
from tests.imaging.sources.files import tarred
from tests.imaging.sources.reading import failure, pixels, taken_alone, zeros

# CIFAR


# tar


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
