import unicodedata

import pytest

from imaging.archive import open_archive
from imaging.filenames import by_any_case, in_utf8, is_hidden, plain
from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, index, picture, write_folder, write_zip
from tests.imaging.sources.files import tarred

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("p\\cat\\0.png", "p/cat/0.png"),
        ("./a//b/./c.png", "a/b/c.png"),
        ("../../up.png", "up.png"),
        ("a/../b.png", "b.png"),
        ("/root.png", "root.png"),
        ("C:\\Users\\me\\a.png", "Users/me/a.png"),
        ("//server/share/a.png", "server/share/a.png"),
        (f"{NFD}/1.png", f"{NFC}/1.png"),
        ("a\x1b[2J\n.png", "a%1B[2J%0A.png"),
        ("r\udce9sum\udce9.png", "r%E9sum%E9.png"),
        ("day 1: sea.png", "day 1: sea.png"),
        ("..", ""),
    ],
)
def test_a_name_is_spelled_one_way(raw, name):
    assert plain(raw) == name and plain(name) == name and name.isprintable()


def test_names_in_zips_without_the_mark_for_utf8():
    assert in_utf8("猫.png".encode().decode("cp437")) == "猫.png"
    assert in_utf8("é.png") == "é.png" and in_utf8("a.png") == "a.png"


def test_hidden_files_and_endings():
    assert is_hidden(plain("a\\.hidden\\b.png")) and is_hidden("__MACOSX/a.png") and not is_hidden(plain("./a.png"))
    assert by_any_case("a.PNG") == by_any_case("a.png") != by_any_case("A.png")


@pytest.mark.parametrize(
    "write", [write_zip, write_folder, lambda path, files: tarred(path.with_suffix(".tar"), files, "")]
)
def test_labels_classes_and_hidden_files_see_the_same_names(tmp_path, write):
    files = {
        "p\\cat\\0.PNG": encoded(picture()),
        f"p/{NFD}\\0.png": encoded(picture(seed=1)),
        "p\\.hidden\\0.png": encoded(picture(seed=2)),
        "p\\dataset.json": index([["cat/0.png", 0], [f"{NFC}/0.PNG", 1]]),
    }
    if write is write_folder:
        files = {name.replace("\\", "/"): data for name, data in files.items()}
    source = open_source(write(tmp_path / "set.zip", files))
    assert sorted(source.names) == [f"p/{NFC}/0.png", "p/cat/0.PNG"]
    assert dict(zip(source.names, source.labels().values, strict=True)) == {f"p/{NFC}/0.png": 1, "p/cat/0.PNG": 0}


def test_of_two_files_of_one_name_the_later_is_read_and_that_is_said(tmp_path):
    files = {"a/1.png": picture(seed=1), "a\\1.png": picture(seed=2), "b.png": picture(seed=3)}
    archive = open_archive(write_zip(tmp_path / "a.zip", files))
    assert archive.names == ("a/1.png", "b.png") and archive.read("a/1.png") == encoded(picture(seed=2))
    assert archive.passed == ["two files are called a/1.png: the later one is read"]
