import io
import os
import struct
import zipfile

import numpy as np
import pytest

from system.untrusted import load_array, load_arrays

W = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)


def npy(header, data=b"", version=1):
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def failure(path, read=load_arrays):
    with pytest.raises(ValueError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message and message.isprintable() and len(message) < 300
    return message


@pytest.mark.parametrize(
    "array", [W, W[:, ::2].T, np.asfortranarray(W), W.astype(">f8"), np.array(7), np.zeros((0, 3)), W > 0]
)
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x"])
def test_an_array_and_archives_of_some_whatever_they_are_called(tmp_path, array, name):
    path = tmp_path / name
    path.write_bytes(saved(array))
    for found in (load_arrays(path)[""], load_array(path)):
        assert np.array_equal(found, array) and found.dtype.isnative and found.flags.writeable
    for save in (np.savez, np.savez_compressed):
        with path.open("wb") as file:
            save(file, w=array, noise0=W)
        found = load_arrays(path)
        assert sorted(found) == ["noise0", "w"] and np.array_equal(found["w"], array)
        assert list(load_arrays(path, lambda name: name == "w")) == ["w"]
    assert failure(path, load_array) == f"{path} is an archive of arrays (.npz), expected a single array (.npy)"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "No data left in file"),
        (b"nothing at all", ""),
        (saved(W)[:-1], ""),
        (npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**70},)}}", bytes(8)), ""),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2)}", bytes(8)), ""),
        (npy("(" * 9000 + ")" * 900, bytes(8)), ""),
        (npy("-" * 9000 + "1", bytes(8)), ""),
        (saved(np.array([{}], dtype=object), allow_pickle=True), "allow_pickle=False"),
        (saved(np.array(["text"])), "values other than numbers"),
        (saved(np.zeros(2, [("a", "f4")])), "values other than numbers"),
        (b"PK\3\4 and no more", "File is not a zip file"),
    ],
)
def test_damaged_and_other_files_are_refused_in_a_sentence(tmp_path, content, why):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    assert why in failure(path)


def test_archives_that_claim_more_than_they_are(tmp_path):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        np.savez_compressed(file, w=np.zeros(2**13), noise0=np.zeros(2**13))
    assert "its arrays take more than 65536 bytes" in failure(path, lambda path: load_arrays(path, most=2**16))
    with path.open("wb") as file:
        np.savez(file, w=np.zeros(2**16))
    assert len(load_arrays(path, most=2**16)["w"]) == 2**16, "a file of any size that is there on the disk is read"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("read me.txt", b"text")
    assert "values other than numbers" in failure(path)


def test_no_file_and_a_pipe(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "x.npy")
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe") == f"{tmp_path}/pipe is not a file: give a NumPy file (.npy or .npz)"
