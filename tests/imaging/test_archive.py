import json
import os
import pickle
import zipfile

import pytest

from imaging.archive import open_archive
from imaging.filenames import SOURCE_SUFFIXES
from imaging.pixels import encode_png
from imaging.setwriter import ArchiveWriter
from tests.imaging.pictures import encoded, index, picture, write_folder, write_zip

FILES = {"b/2.png": picture(seed=2), "a/1.png": picture(seed=1), "3.PNG": picture(seed=3)}


def failure(function, *arguments, kind=ValueError):
    with pytest.raises(kind) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(params=[write_folder, write_zip])
def write(request, tmp_path):
    return lambda files: request.param(tmp_path / "set.zip", files)


def test_reading(write):
    archive = open_archive(write(FILES))
    assert archive.names == ("3.PNG", "a/1.png", "b/2.png")
    assert archive.read("a/1.png") == encoded(picture(seed=1))
    assert archive.entries["a/1.png"].size == len(encoded(picture(seed=1)))
    assert archive.labels is None and archive.class_names == ()


def test_what_is_not_meant_to_be_seen_is_ignored(write):
    junk = {"__MACOSX/a/._1.png": b"x", "a/.hidden.png": b"x", ".git/c.png": b"x", "notes.txt": b"x", "a.gif": b"x"}
    archive = open_archive(write(FILES | junk))
    assert len(archive.names) == 3
    assert open_archive(archive.path, SOURCE_SUFFIXES).names[1:2] == ("a.gif",)


def test_labels_are_read_as_written(write):
    labels = [["a/1.png", 1], ["b\\2.png", 0], ["3.PNG", 4]]
    archive = open_archive(write(FILES | {"dataset.json": index(labels)}))
    assert archive.labels == {"a/1.png": 1, "b/2.png": 0, "3.PNG": 4}


def test_labels_follow_a_folder_that_was_zipped_as_a_whole(write):
    files = {f"set/{name}": image for name, image in FILES.items()}
    archive = open_archive(write(files | {"set/dataset.json": index([["a/1.png", 1]])}))
    assert archive.labels == {"set/a/1.png": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "dataset.json in {path} is not a JSON object"),
        (b"[]", 'dataset.json in {path} is not a JSON object such as {{"labels": ...}}'),
        (b'{"labels": {"a": 1}}', "the labels in dataset.json of {path} must be a list of [name, class] pairs"),
        (b'{"labels": [["a"]]}', "the labels in dataset.json of {path} must be a list of [name, class] pairs"),
        (b'{"labels": [[1, "a"]]}', "the labels in dataset.json of {path} must be a list of [name, class] pairs"),
        (b'{"labels": [["3.PNG", 1], ["3.PNG", 2]]}', "dataset.json of {path} labels 3.PNG twice"),
        (b"\xff\xfe", "dataset.json in {path} is not a JSON object"),
        (b"[" * 100_000, "dataset.json in {path} is not a JSON object"),
    ],
)
def test_malformed_labels(write, content, message):
    archive = open_archive(write(FILES | {"dataset.json": content}))
    assert failure(lambda: archive.labels).startswith(message.format(path=archive.path))


def test_empty_folders_and_zips(write):
    path = write({"notes.txt": b"x"})
    assert failure(open_archive, path) == (
        f"{path} holds no images (png, jpg, jpeg, webp): give a ZIP or folder with some, "
        f"or make a set of other kinds with dataset_tool.py; skipped 1 other file (1 .txt)"
    )


def test_what_is_no_zip(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"hello")
    assert failure(open_archive, path) == (
        f"{path} is not a complete ZIP file (File is not a zip file): copy or make it again, or give a folder of images"
    )


def test_damage_inside_a_zip_is_noticed_and_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES)
    data = bytearray(path.read_bytes())
    place = bytes(data).index(encoded(picture(seed=1))) + 300
    data[place] ^= 1
    path.write_bytes(data)
    archive = open_archive(path)
    assert archive.read("b/2.png") == encoded(picture(seed=2))
    assert failure(archive.read, "a/1.png") == f"a/1.png in {path} cannot be read: Bad CRC-32 for file 'a/1.png'"


def test_a_file_that_unpacks_to_far_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("imaging.archive.LARGEST_FILE", 100)
    archive = open_archive(write_zip(tmp_path / "a.zip", FILES))
    size = archive.entries["a/1.png"].size
    assert failure(archive.read, "a/1.png") == (
        f"a/1.png in {archive.path} has {size} bytes, but at most 100 are accepted"
    )


def test_names_that_point_outside_do_no_harm(tmp_path):
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    archive = open_archive(write_zip(inside / "a.zip", {"../up.png": picture(), "/root.png": picture(seed=1)}))
    assert archive.names == ("up.png", "root.png")
    assert archive.read("up.png") == encoded(picture())
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["er"]


def test_unreadable_folders(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "set", FILES)

    def deny(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)
    assert failure(open_archive, folder) == f"no permission to read {folder}: change it, or give another path"


def test_archives_travel_without_their_file_handle(write):
    archive = open_archive(write(FILES))
    archive.read("a/1.png")
    copy = pickle.loads(pickle.dumps(archive))
    assert copy.names == archive.names and copy.read("a/1.png") == archive.read("a/1.png")


def write_set(dest, labels=(2, 0, 1)):
    with ArchiveWriter(dest) as writer:
        names = [writer.add(picture(seed=i), label) for i, label in enumerate(labels)]
        writer.about["class_names"] = ("x", "y", "z")
    return names


@pytest.mark.parametrize("name", ["set.zip", "set"])
def test_what_is_written_is_read_back(tmp_path, name):
    names = write_set(tmp_path / "new" / name)
    assert names == [f"00000/img0000000{i}.png" for i in range(3)]
    archive = open_archive(tmp_path / "new" / name)
    assert archive.names == tuple(names)
    assert archive.labels == dict(zip(names, (2, 0, 1), strict=True)) and archive.class_names == ("x", "y", "z")
    assert archive.read(names[1]) == encode_png(picture(seed=1))
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


def test_equal_sets_are_equal_files_and_stored_openly(tmp_path):
    write_set(tmp_path / "a.zip")
    write_set(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as container:
        assert {entry.compress_type for entry in container.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(container.read("dataset.json"))["labels"][0] == ["00000/img00000000.png", 2]


def test_folders_with_something_in_them_are_not_replaced(tmp_path):
    write_set(tmp_path / "set")
    assert failure(write_set, tmp_path / "set") == (
        f"{tmp_path / 'set'} exists and is not an empty folder: choose another path"
    )
    (tmp_path / "x.zip").mkdir()
    assert failure(write_set, tmp_path / "x.zip") == (
        f"{tmp_path / 'x.zip'} is a folder: name a ZIP file that does not exist yet"
    )


@pytest.mark.parametrize(
    ("start", "what"),
    [(b"<!DOCTYPE html>", "a web page"), (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
     (b"", "an empty file"), (b'<?xml version="1.0"?>\n<Error>', "an error message of a server")],
)  # fmt: skip
def test_what_was_downloaded_in_the_place_of_a_zip(tmp_path, start, what):
    (tmp_path / "a.zip").write_bytes(start)
    assert f"is not a complete ZIP file (it is {what}" in failure(open_archive, tmp_path / "a.zip")
