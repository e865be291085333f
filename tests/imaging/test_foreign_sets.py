"""What is no folder, ZIP or shards, given to training: the error says what it is, and what makes a set of it."""

import shlex

import numpy as np
import pytest

from imaging.dataset import DataConfig, open_dataset
from tests.imaging.pictures import encoded, picture, write_folder
from tests.imaging.sources.files import cifar_files, idx
from tests.imaging.sources.reading import RGB
from tests.imaging.sources.test_containers import records, video


def failure(path):
    with pytest.raises(ValueError) as error:
        open_dataset(DataConfig(path=str(path)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.png", encoded(picture()), "is a single image: give the folder it is in, since a set has many images"),
        (
            "0.HEIC",
            b"\0\0\0\x18ftypheic",
            "is a single image: give a folder of images; convert them to PNG first",
        ),
        ("labels.csv", b"file,label\n", "is of an unknown format: give a folder, ZIP or tar file of images, "),
        ("page.bin", b"<!DOCTYPE html>", "is not a set of images, but a web page"),
        ("x.bin", b"\1\2\3", "is of an unknown format: give a folder, ZIP or tar file of images, WebDataset"),
    ],
)
def test_files_that_are_no_set(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    assert failure(tmp_path / name).startswith(f"{tmp_path / name} {said}")


def made(tmp_path, kind):
    if kind == "a video":
        pytest.importorskip("av")
        return video(tmp_path / "my clip.mkv", 3)
    if kind == "TFRecords":
        return records(tmp_path / "a-r04.tfrecords", RGB)
    if kind == "MNIST":
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((3, 28, 28), np.uint8)))
        return tmp_path
    if kind == "CIFAR":
        return (
            write_folder(tmp_path, cifar_files(np.zeros((10, 3, 32, 32), np.uint8), [0] * 10)) / "cifar-10-batches-py"
        )
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    return tmp_path / "a.parquet"


@pytest.mark.parametrize(
    "kind",
    ["a video", "TFRecords", "MNIST", "CIFAR", "Hugging Face parquet"],
)
def test_sets_of_other_formats_come_with_the_command(tmp_path, kind):
    path = made(tmp_path, kind)
    told = failure(path)
    assert told.startswith(f"{path} is {kind}, but training reads folders, ZIPs and shards: make a set of it with `")
    command = shlex.split(told.split("`")[1])
    assert command[2:4] == ["--source", str(path)] and command[4] == "--dest" and command[5].endswith("-256x256.zip")


def test_a_broken_zip_is_a_broken_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"hello")
    assert "is not a complete ZIP file" in failure(tmp_path / "a.zip")
