"""Files of pictures, and arrays that teach: small true files, read back with their exact pixels and labels."""

import pickle
import struct

import numpy as np
import pytest

from imaging.picture import Header
from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, index, write_folder, write_zip
from tests.imaging.sources.files import cifar_files, idx, python2_pickle, tarred
from tests.imaging.sources.reading import RGB, equal, failure, pixels


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_folders_and_zips(tmp_path, write):
    source = open_source(write(tmp_path / "set.zip", {f"{i}.png": image for i, image in enumerate(RGB)}))
    assert equal(pixels(source), RGB) and source.names[5] == "5.png"


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", ""), ("a.tar.gz", "gz"), ("a.tgz", "gz"), ("a.tar.xz", "xz"), ("a.tar.bz2", "bz2")]
)
def test_tar_files(tmp_path, name, mode):
    files = {f"./set/{9 - i}.png": encoded(image) for i, image in enumerate(RGB)}
    files |= {
        "set/notes.txt": b"x",
        "set/.hidden.png": b"x",
        "set/dataset.json": index([[f"{9 - i}.png", i % 3] for i in range(6)]),
    }
    source = open_source(tarred(tmp_path / name, files, mode))
    assert equal(pixels(source), RGB) and source.names[0] == "set/9.png", "the order of the file"
    assert source.labels().values.tolist() == [0, 1, 2, 0, 1, 2]
    assert equal(pixels(source, indices=[1, 4]), [RGB[1], RGB[4]])
    assert [source.header_of(i) for i in range(6)] == [Header(16, 12, "RGB")] * 6


@pytest.mark.parametrize("mode", ["", "gz"])
def test_a_name_that_comes_twice_in_a_tar_means_the_later_file(tmp_path, mode):
    import io
    import tarfile

    with tarfile.open(tmp_path / "a.tar", f"w:{mode}") as tar:
        for name, image in (("a.png", RGB[0]), ("b.png", RGB[1]), ("a.png", RGB[2])):
            info = tarfile.TarInfo(name)
            info.size = len(encoded(image))
            tar.addfile(info, io.BytesIO(encoded(image)))
    source = open_source(tmp_path / "a.tar")
    assert source.names == ("b.png", "a.png") and equal(pixels(source), [RGB[1], RGB[2]])


@pytest.mark.parametrize("mode", ["", "gz", "xz", "bz2"])
def test_damaged_tar_files(tmp_path, mode):
    path = tarred(tmp_path / "a.tar", {f"{i}.png": encoded(image) for i, image in enumerate(RGB)}, mode)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert failure(path).startswith(
        (f"{path} is not a complete tar file (", f"{path} is not a complete compressed file (")
    )
    if not mode:  # the header of the second file: all after it would be lost without a word
        second = whole.index(b"1.png")
        path.write_bytes(whole[:second] + b"\xff" * 100 + whole[second + 100 :])
        assert failure(path) == f"{path} is not a complete tar file (a header is damaged): copy or make it again"


def cifar(tmp_path):
    data = np.random.RandomState(0).randint(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    return data, cifar_files(data, [i % 3 for i in range(10)])


@pytest.mark.parametrize("form", ["tar.gz", "tar", "folder"])
def test_cifar_10(tmp_path, form):
    data, files = cifar(tmp_path)
    if form == "folder":
        path = write_folder(tmp_path / "in", files) / "cifar-10-batches-py"
    else:
        path = tarred(tmp_path / f"cifar-10-python.{form}", files, "gz" if form == "tar.gz" else "")
    source = open_source(path)
    assert source.kind == "CIFAR-10" and source.header == Header(32, 32, "RGB")
    assert equal(pixels(source), list(data.transpose(0, 2, 3, 1)))
    assert equal(pixels(source, indices=[3, 9]), list(data.transpose(0, 2, 3, 1)[[3, 9]]))
    labels = source.labels()
    assert labels.values.tolist() == [i % 3 for i in range(10)]
    assert labels.class_names == ("airplane", "automobile", "bird") and labels.note == "labels of CIFAR-10: 3 classes"


def test_cifar_100_has_its_fine_classes(tmp_path):
    data = np.random.RandomState(0).randint(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    train = {b"data": data.reshape(4, -1), b"fine_labels": [0, 1, 1, 0], b"coarse_labels": [5, 5, 5, 5]}
    meta = {b"fine_label_names": [b"apple", b"bear"], b"coarse_label_names": [b"x"]}
    files = {"cifar-100-python/train": python2_pickle(train), "cifar-100-python/meta": pickle.dumps(meta, 4)}
    source = open_source(tarred(tmp_path / "c.tar.gz", files, "gz"))
    assert source.kind == "CIFAR-100" and equal(pixels(source), list(data.transpose(0, 2, 3, 1)))
    assert source.labels().class_names == ("apple", "bear") and source.labels().values.tolist() == [0, 1, 1, 0]


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/never",)


class Sly:
    def __reduce__(self):
        return getattr, ("", "join")


@pytest.mark.parametrize(
    ("content", "asked"),
    [(Hostile(), "posix.system"), (Sly(), "builtins.getattr"), (np.float64(1), "numpy._core.multiarray.scalar")],
)
def test_pickles_that_ask_for_more_than_arrays_are_refused(tmp_path, content, asked):
    _, files = cifar(tmp_path)
    files["cifar-10-batches-py/data_batch_2"] = pickle.dumps({b"data": content}, 4)
    path = tarred(tmp_path / "c.tar.gz", files, "gz")
    assert failure(path) == (
        f"data_batch_2 in {path} is not a file of CIFAR (it asks for {asked}, which is not allowed; no code of "
        f"the file was run): get it again from the official site"
    )


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            b"",
            "data_batch_1 in {} is not a file of CIFAR (it is cut short or damaged (at instruction 0 of its pickle",
        ),
        (
            pickle.dumps([1]),
            "data_batch_1 in {} is not a file of CIFAR (it holds a list, expected a dictionary): get it again",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}),
            "the data of data_batch_1 in {} must be bytes [N, 3072]: get it again from the official site",
        ),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, "x"]}, 4),
            "the labels of data_batch_1 in {} must be 2 class numbers: get it again from the official site",
        ),
    ],
)
def test_damaged_cifar(tmp_path, batch, message):
    _, files = cifar(tmp_path)
    path = tarred(tmp_path / "c.tar.gz", files | {"cifar-10-batches-py/data_batch_1": batch}, "gz")
    assert failure(path).startswith(message.format(path)) or "numeric._frombuffer" in failure(path)


GRAY = np.random.RandomState(1).randint(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_mnist(tmp_path, packed, single):
    ending = ".gz" if packed else ""
    (tmp_path / f"train-images-idx3-ubyte{ending}").write_bytes(idx(GRAY, packed))
    (tmp_path / f"train-labels-idx1-ubyte{ending}").write_bytes(idx(np.array([3, 1, 4, 1, 5], np.uint8), packed))
    (tmp_path / f"t10k-images-idx3-ubyte{ending}").write_bytes(idx(GRAY[:1], packed))
    source = open_source(tmp_path / f"train-images-idx3-ubyte{ending}" if single else tmp_path)
    assert source.header == Header(28, 28, "L") and equal(pixels(source, "L"), list(GRAY))
    assert source.labels().values.tolist() == [3, 1, 4, 1, 5] and source.labels().class_names == tuple("0123456789")
    test = open_source(tmp_path / f"t10k-images-idx3-ubyte{ending}")
    assert len(test.names) == 1 and test.labels().note == (
        f"the set is unlabeled, since no t10k-labels-idx1-ubyte.gz is beside t10k-images-idx3-ubyte{ending}"
    )


def test_fashion_mnist_has_names(tmp_path):
    folder = tmp_path / "Fashion-MNIST"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(GRAY[:2]))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(idx(np.array([9, 0], np.uint8)))
    names = open_source(folder).labels().class_names
    assert names[0] == "T-shirt/top" and names[9] == "Ankle boot"


def test_damaged_mnist(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(GRAY, False)[:-7])
    assert failure(path) == f"{path} is not complete (3913 of 3920 bytes): get it again"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 28, 28))
    assert failure(path) == f"{path} claims to hold 1683627180032 bytes, but at most 1073741824 are read: give another"
    path.write_bytes(idx(GRAY)[:-20])
    assert failure(path).startswith(f"{path} is not complete (Compressed file ended before")
    path.write_bytes(idx(GRAY))
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(4, np.uint8)))
    assert failure(path) == f"{labels} has 4 labels for 5 images: get both again, or use --labels none"
