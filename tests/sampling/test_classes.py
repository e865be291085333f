import pytest

from models.sampler import class_of, learned_classes
from sampling.classes import class_facts, class_names, find_class, listed

NAMES = ["happy", "sad", "sleepy"]


def test_names_come_from_the_file_when_they_fit():
    assert class_names({"data": {"class_names": NAMES}}, 3) == NAMES


@pytest.mark.parametrize(
    "metadata",
    [{}, {"data": {}}, {"data": {"class_names": []}}, {"data": {"class_names": ["happy"]}}],
)
def test_classes_without_fitting_names_are_called_by_their_numbers(metadata):
    assert class_names(metadata, 3) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "number"), [("happy", 0), ("sleepy", 2), ("1", 1), ("01", 1), ("Happy", 0), ("SAD", 1)]
)
def test_a_class_is_found_by_name_and_by_number(text, number):
    assert find_class(text, NAMES) == number


def test_a_name_goes_before_a_number():
    assert [find_class(text, ["1", "10", "2"]) for text in ("1", "10", "2", "0")] == [0, 1, 2, 0]


def test_names_that_differ_in_case_alone_stay_apart():
    assert [find_class(text, ["a", "A", "b"]) for text in ("a", "A", "B")] == [0, 1, 2]


@pytest.mark.parametrize("text", ["3", "-1", "", "Happy ", "1.0", "²"])
def test_other_texts_are_refused_with_the_classes_there_are(text):
    with pytest.raises(ValueError) as error:
        find_class(text, NAMES)
    assert str(error.value) == f"--class {text}: expected one of 3 classes, 0 happy, 1 sad, 2 sleepy"


def test_of_many_classes_the_first_are_listed():
    numbers = [str(k) for k in range(1000)]
    assert listed(numbers).endswith("18, 19, ... up to 999")
    assert listed([f"c{k}" for k in range(21)]).endswith("19 c19, ... up to 20 c20")
    assert listed(["0", "1"]) == "0, 1"


def counted(counts) -> dict:
    return {"data": {"class_names": NAMES, "class_counts": counts}}


def test_seeds_take_the_classes_that_were_learned():
    assert learned_classes(counted([0, 4, 2]), 3) == [1, 2]
    assert [class_of(seed, None, [1, 2]) for seed in (0, 1, 2, 7)] == [1, 2, 1, 2]
    assert class_of(7, 0, [1, 2]) == 0 and class_of(7, None, []) is None
    assert class_facts(counted([0, 4, 2]), 3) == {"class_names": NAMES, "class_counts": [0, 4, 2]}


@pytest.mark.parametrize(
    "metadata",
    [{}, {"data": None}, {"data": []}, {"data": {}}]
    + [counted(c) for c in ([1, 2], [0, 0, 0], "abc", {"0": 1}, [1, None, 2], [1.5, 0, 1], [1, 1, 1], None)],
)
def test_all_classes_count_where_nothing_else_is_known(metadata):
    assert learned_classes(metadata, 3) == [0, 1, 2]
    assert "class_counts" not in class_facts(metadata if isinstance(metadata.get("data"), dict) else {}, 3)


def test_only_the_classes_named_are_listed():
    assert listed(NAMES, [1, 2]) == "1 sad, 2 sleepy"
    assert listed([str(k) for k in range(100)], range(50, 100)).endswith("69, ... up to 99")
