import json

import pytest

from imaging.archive import open_archive
from imaging.labels import in_order, take_labels
from tests.imaging.pictures import Files, index, picture, write_folder


def archive_of(tmp_path, names, labels=None, **about):
    files: Files = {name: picture(seed=i) for i, name in enumerate(names)}
    if labels is not None:
        files["dataset.json"] = json.dumps({"labels": labels, **about}).encode()
    return open_archive(write_folder(tmp_path / "set", files))


def failure(archive, choice="auto"):
    with pytest.raises(ValueError) as error:
        take_labels(archive, choice)
    return str(error.value)


def test_labels_of_the_index_in_the_order_of_the_pictures(tmp_path):
    labels = take_labels(archive_of(tmp_path, ["b.png", "a.png"], [["b.png", 0], ["a.png", 1]]), "auto")
    assert labels.values.tolist() == [1, 0] and labels.values.dtype == "int64"
    assert labels.class_names == ("0", "1") and labels.note == "labels from dataset.json: 2 classes"


def test_a_single_class_is_told(tmp_path):
    labels = take_labels(archive_of(tmp_path, ["a.png", "b.png"], [["a.png", 0], ["b.png", 0]]), "auto")
    assert labels.class_names == ("0",)
    assert labels.note == ("labels from dataset.json: 1 class, which tells nothing; --labels none leaves it out")


def test_an_index_without_labels(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/dataset.json").write_bytes(index(None))
    note = take_labels(archive_of(tmp_path, ["a.png"]), "auto").note
    assert note == "the set is unlabeled, since it has no labels in its dataset.json"


def test_sub_folders_are_classes_only_when_asked(tmp_path):
    archive = archive_of(tmp_path, ["cat/1.png", "cat/deep/2.png", "dog/1.png"])
    auto = take_labels(archive, "auto")
    assert auto.class_names == () and auto.note.endswith("(--labels folders would make each sub-folder a class)")
    folders = take_labels(archive, "folders")
    assert folders.class_names == ("cat", "dog") and folders.values.tolist() == [0, 0, 1]
    assert folders.note == "labels from sub-folders: 2 classes"


@pytest.mark.parametrize("spelling", [3, 3.0, "3", " 3", "03", "3.0", "3e0", "+3"])
def test_a_class_number_in_any_spelling(tmp_path, spelling):
    labels = take_labels(archive_of(tmp_path, ["a.png", "b.png"], [["a.png", 10], ["b.png", spelling]]), "auto")
    assert labels.values.tolist() == [10, 3] and len(labels.class_names) == 11


@pytest.mark.parametrize(
    "names",
    [
        ["00000/img00000000.png", "00001/img00001000.png"],  # of this tool and the official one
        ["00000/00007.png", "01000/01999.png"],  # of FFHQ
        ["set/00000/img00000000.png", "set/00012/img00012999.png"],
        ["00000/img00000000.png", "00000/img00000999.png"],
    ],
)
@pytest.mark.parametrize("labels", [None, [["a", 0]]])
def test_the_usual_layout_is_not_mistaken_for_classes(tmp_path, names, labels):
    archive = archive_of(tmp_path, names, labels and [[name, i] for i, name in enumerate(names)])
    if labels is None:
        assert take_labels(archive, "auto").note == "the set is unlabeled, since it has no dataset.json"
    first = min(name.split("/")[-2] for name in names)
    assert failure(archive, "folders") == (
        f"the sub-folders of {archive.path} ({first}, ...) only hold 1000 images each and are not classes: "
        f"use --labels auto, which takes the classes of dataset.json if it has some, or --labels none"
    )


def test_classes_whose_images_are_in_numbered_folders(tmp_path):
    archive = archive_of(tmp_path, ["cat/00000/img00000000.png", "dog/00000/img00000000.png"])
    assert take_labels(archive, "folders").class_names == ("cat", "dog")


def test_classes_that_are_called_by_five_digits(tmp_path):
    archive = archive_of(tmp_path, ["00000/1.png", "00001/1.png", "00001/2.png"])
    assert take_labels(archive, "folders").values.tolist() == [0, 1, 1]


def test_folders_are_taken_beside_an_index_when_asked_and_that_is_told(tmp_path):
    archive = archive_of(tmp_path, ["cat/1.png", "dog/1.png"], [["cat/1.png", 5], ["dog/1.png", 5]])
    labels = take_labels(archive, "folders")
    assert labels.class_names == ("cat", "dog")
    assert labels.note == "labels from sub-folders, not from its dataset.json: 2 classes"


@pytest.mark.parametrize(
    ("folders", "order"),
    [
        (["10", "2", "1"], ("1", "2", "10")),
        (["img10", "img9", "img09"], ("img09", "img9", "img10")),
        (["1.0", "10.0", "2.0"], ("1.0", "2.0", "10.0")),
        (["0.5", "0.25", "-1"], ("-1", "0.25", "0.5")),
        (["b", "a", "B"], ("B", "a", "b")),
        (["a10b2", "a10b11", "a9"], ("a9", "a10b2", "a10b11")),
        (["x", "3", "20"], ("3", "20", "x")),
        (["1" * 5000 + "x", "2x"], ("2x", "1" * 5000 + "x")),
    ],
)
def test_names_of_classes_are_in_the_order_that_people_count(folders, order):
    assert in_order(folders) == in_order(folders[::-1]) == order


@pytest.mark.parametrize("names", [["a.png", "cat/b.png"], ["a.png", "b.png"], ["set/a.png", "set/b.png"]])
def test_folders_need_sub_folders(tmp_path, names):
    message = failure(archive_of(tmp_path, names), "folders")
    assert message == (
        f"{tmp_path / 'set'} has no sub-folder for each class ({names[0]} is in none): put every image into a "
        f"sub-folder named after its class, or use --labels auto"
    )


VALUES = "labels must be class numbers 0, 1, 2, ..."


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a.png", 0]], "dataset.json of {} has no label for b.png"),
        ([], "dataset.json of {} has no label for a.png and 1 more"),
        (
            [["a.png", 0], ["b.png", 0], ["z.png", 0], ["y.png", 0]],
            "dataset.json of {} labels y.png and 1 more, which the archive does not hold",
        ),
        ([["a.png", 0], ["b.png", -1]], "the label of b.png in dataset.json of {} is -1: " + VALUES + " below 100000"),
        (
            [["a.png", 0], ["b.png", "cat"]],
            "the label of b.png in dataset.json of {} is 'cat': " + VALUES + " below 100000",
        ),
        (
            [["a.png", 0], ["b.png", {"cat": "\u001b[2J"}]],
            "the label of b.png in dataset.json of {} is a dict: " + VALUES + " below 100000",
        ),
        (
            [["a.png", 0], ["b.png", 0.5]],
            "the label of b.png in dataset.json of {} is 0.5: " + VALUES + " below 100000",
        ),
        (
            [["a.png", 0], ["b.png", True]],
            "the label of b.png in dataset.json of {} is True: " + VALUES + " below 100000",
        ),
        (
            [["a.png", 0], ["b.png", 10**9]],
            "the label of b.png in dataset.json of {} is 1000000000: " + VALUES + " below 100000",
        ),
        (
            [["a.png", 0], ["b.png", [0.1, 0.9]]],
            "the label of b.png in dataset.json of {} is [0.1, 0.9]: " + VALUES + " below 100000",
        ),
    ],
)
def test_wrong_labels(tmp_path, labels, message):
    archive = archive_of(tmp_path, ["a.png", "b.png"], labels)
    assert failure(archive) == message.format(archive.path) + ": correct it, or use --labels none"
    assert take_labels(archive, "none").class_names == ()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"labels": 3}', b'{"labels": [["a.png", 0], ["a.png", 0]]}'])
def test_every_fault_of_the_index_says_what_to_do(tmp_path, content):
    archive = archive_of(tmp_path, ["a.png"])
    (archive.path / "dataset.json").write_bytes(content)
    archive = open_archive(archive.path)
    assert failure(archive).endswith(": correct it, or use --labels none")
    assert take_labels(archive, "none").note == "labels are not used"
