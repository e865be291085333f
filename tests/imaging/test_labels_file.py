import json
import os

import pytest

from imaging.labels import read_label_file

NAMES = ("a/1.png", "a/2.png", "b/3.png")


def read(tmp_path, text, name="labels.csv", names=NAMES):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_label_file(path, names)


def failure(tmp_path, text, name="labels.csv", names=NAMES):
    with pytest.raises(ValueError) as error:
        read(tmp_path, text, name, names)
    return str(error.value).replace(str(tmp_path / name), "FILE")


@pytest.mark.parametrize(
    "text",
    [
        "a/1.png,dog\na/2.png,cat\nb/3.png,dog\n",
        "file,label\nb/3.png,dog\na/1.png,dog\na/2.png,cat\n",
        "\ufefffilename;class\r\na\\1.png;dog\r\n./a/2.png;cat\r\n\r\nb/3.png;dog\r\n",
        "label\tother\timage\ndog\tx\ta/1.png\ncat\ty\ta/2.png\ndog\tz\tb/3.png",
        "1.png,dog\n2.png,cat\n3.png,dog",
        "id,class\n1,dog\n2,cat\n3,dog\n",
        'a/1,"dog"\na/2, cat\nb/3,dog',
    ],
)
def test_csv_with_names_of_classes(tmp_path, text):
    labels = read(tmp_path, text)
    assert labels.values.tolist() == [1, 0, 1] and labels.class_names == ("cat", "dog")
    assert labels.note == "labels from labels.csv: 2 classes"


def test_csv_with_class_numbers(tmp_path):
    labels = read(tmp_path, "file,label\na/1.png,2\na/2.png,0\nb/3.png,2\n")
    assert labels.values.tolist() == [2, 0, 2] and labels.class_names == ("0", "1", "2")
    assert labels.note == "labels from labels.csv: 3 classes, 1 of them without images"


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize(
    ("spelled", "values", "names"),
    [
        (["10.0", "2.0", "0.0"], [10, 2, 0], tuple(map(str, range(11)))),
        (["10", "2.0", "1e1"], [10, 2, 10], tuple(map(str, range(11)))),
        (["010", "02", "+10"], [10, 2, 10], tuple(map(str, range(11)))),
        ([" 10", "2 ", "10."], [10, 2, 10], tuple(map(str, range(11)))),
        (["-1", "1", "-1.0"], [0, 1, 0], ("-1", "1")),
        (["10.5", "9.25", "-3"], [2, 1, 0], ("-3", "9.25", "10.5")),
        (["4006381333931", "20000000000", "4006381333931"], [1, 0, 1], ("20000000000", "4006381333931")),
        (["class10", "class9", "class10"], [1, 0, 1], ("class9", "class10")),
        (["10.0", "cat", "9"], [1, 2, 0], ("9", "10.0", "cat")),
    ],
)
def test_numbers_in_another_spelling_are_numbers(tmp_path, ending, spelled, values, names):
    pairs = dict(zip(NAMES, spelled, strict=True))
    csv = "file,label\n" + "".join(f'{name},"{label}"\n' for name, label in pairs.items())
    labels = read(tmp_path, csv if ending == "csv" else json.dumps(pairs), f"labels.{ending}")
    assert labels.values.tolist() == values and labels.class_names == names


def test_numbers_of_json_may_have_a_point(tmp_path):
    labels = read(tmp_path, '{"a/1.png": 10.0, "a/2.png": 2, "b/3.png": "1e1"}', "labels.json")
    assert labels.values.tolist() == [10, 2, 10] and len(labels.class_names) == 11


@pytest.mark.parametrize(
    ("text", "values", "names"),
    [
        ('{"a/1.png": 1, "a/2.png": 0, "b/3.png": 1}', [1, 0, 1], ("0", "1")),
        ('{"1.png": "dog", "2.png": "cat", "3.png": "dog"}', [1, 0, 1], ("cat", "dog")),
        (
            '{"labels": [["a/2.png", 0], ["a/1.png", 1], ["b/3.png", 1]], "class_names": ["x", "y", "z"]}',
            [1, 0, 1],
            ("x", "y", "z"),
        ),
    ],
)
def test_json(tmp_path, text, values, names):
    labels = read(tmp_path, text, "labels.json")
    assert labels.values.tolist() == values and labels.class_names == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "FILE holds no labels: write a line for each image"),
        ("a/1.png,0\na/2.png\n", "line 2 of FILE has no label: write both in each line"),
        ("a/1.png,0\na/1.png,1\n", "FILE labels a/1.png twice: keep one"),
        ("a/1.png,0\n", "FILE has no label for a/2.png and 1 more: add what is missing"),
        (
            "a/1.png,0\na/2.png,0\nb/3.png,0\nc.png,0\n",
            "FILE labels c.png, which the source does not hold: remove that",
        ),
        (
            "a/1.png,0\na/2.png,\nb/3.png,0\n",
            "the label of a/2.png in FILE is empty: labels must be class numbers 0, 1, 2, ... or class names: "
            "correct it, or write class names throughout",
        ),
        (
            "a/1.png,0\na/2.png,100000\nb/3.png,0\n",
            "the label of a/2.png in FILE is '100000': labels must be class numbers 0, 1, 2, ... below 100000: correct "
            "it, or write class names throughout",
        ),
        (
            b"\xff\xfea",
            "FILE is not UTF-8 text of at most 805306368 bytes (utf-8): give a file of labels, saved as UTF-8",
        ),
        (
            "a/1.png,\0x\n" + "y" * 200_000,
            "line 2 of FILE cannot be read (field larger than field limit (131072)): write file,label",
        ),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    assert failure(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "FILE is not a JSON object: write"),
        ("[1]", 'FILE is not a JSON object: write {"file": label, ...} or {"labels": [["file", label], ...]}'),
        ('{"labels": [1]}', "the labels of FILE must be a list of [name, class] pairs: write"),
        ('{"a/1.png": [0.5], "a/2.png": 0, "b/3.png": 0}', "the label of a/1.png in FILE is [0.5]: labels must be"),
        ('{"a/1.png": null, "a/2.png": 0, "b/3.png": 0}', "the label of a/1.png in FILE is None: labels must be"),
        (
            '{"labels": [["1.png", "x"], ["2.png", "y"], ["3.png", "y"]], "class_names": ["y"]}',
            "FILE has the label x, which is not in its class_names: add it there",
        ),
        ('{"labels": [], "class_names": [[1]]}', "the class_names of FILE must be a list of at most 100000 names"),
        ('{"a/1.png": ' + "[" * 10**5 + "]" * 10**5 + "}", "FILE is not a JSON object: "),
        ('{"a/1.png": {"\\u001b": 1}, "a/2.png": 0, "b/3.png": 0}', "the label of a/1.png in FILE is a dict"),
        ('{"a\\u001b[2J": 1, "a/1.png": 0, "a/2.png": 0, "b/3.png": 0}', "FILE labels a?[2J, which the source does"),
    ],
)
def test_wrong_json(tmp_path, text, message):
    assert failure(tmp_path, text, "labels.json").startswith(message)


def test_bare_names_that_could_be_several(tmp_path):
    assert failure(tmp_path, "1.png,0\n", names=("a/1.png", "b/1.png")) == (
        "FILE labels 1.png, which may be a/1.png or b/1.png: write the whole name"
    )


def test_more_classes_than_there_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr("imaging.labels.MOST_CLASSES", 2)
    assert failure(tmp_path, "a/1.png,x\na/2.png,y\nb/3.png,z\n") == (
        "the label of a/1.png in FILE and the others name 3 classes, but at most 2 are possible: correct it, or write "
        "class names throughout"
    )


def test_files_that_are_none_or_too_large(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(ValueError, match=r"labels\.csv is a folder, a pipe or a device"):
        read_label_file(tmp_path / "labels.csv", NAMES)
    monkeypatch.setattr("imaging.labels.LARGEST_FILE", 100)
    assert failure(tmp_path, " " * 101, "b.csv").startswith("FILE is not UTF-8 text of at most 100 bytes (more than")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_of_every_system(tmp_path, end):
    assert read(tmp_path, f"file,label{end}1,dog{end}2,cat{end}3,dog{end}").class_names == ("cat", "dog")
