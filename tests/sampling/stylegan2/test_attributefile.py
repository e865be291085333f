import json

import pytest
import torch

from sampling.stylegan2.attributefile import read_attributes

NAN = float("nan")


@pytest.fixture
def written(tmp_path):
    def write(text, name="labels.csv"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return path

    return write


def check(attributes, names, seeds, values):
    assert attributes.names == names and attributes.seeds == seeds
    expected = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(attributes.values, expected, rtol=0, atol=0, equal_nan=True)


def test_lines_are_pictures_and_columns_attributes(written):
    text = "smile,Picture,age\nyes,seed0003.png,31.5\n\nNo, out/seed12.webp ,\n,7,-2e1\n"
    check(read_attributes(written("\ufeff" + text)), ("smile", "age"), (3, 12, 7), [[1, 31.5], [0, NAN], [NAN, -20]])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(written, separator):
    path = written(f"seed{separator}smile\n1{separator}true\n4294967295{separator}FALSE\n")
    check(read_attributes(path), ("smile",), (1, 2**32 - 1), [[1], [0]])


@pytest.mark.parametrize(
    "content",
    [
        {"0": {"smile": True, "age": 31.5}, "seed0001.png": {"smile": 0, "age": None}},
        [{"seed": 0, "smile": 1, "age": "31.5"}, {"picture": "seed0001.jpg", "smile": "no"}],
    ],
)
def test_json_of_either_form(written, content):
    check(read_attributes(written(content, "a.json")), ("smile", "age"), (0, 1), [[1, 31.5], [0, NAN]])


def refusal(path):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read_attributes(path)
    return str(error.value).replace(str(path), path.name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "labels.csv holds no labels: write a line for each picture, and a column for each attribute"),
        ("seed,a\n", "labels.csv holds no labels: write a line for each picture, and a column for each attribute"),
        ("seed\n1\n", "labels.csv holds no labels: write a line for each picture, and a column for each attribute"),
        ("a,b\n1,2\n", "the first line of labels.csv has no column of pictures: name one column seed"),
        ("seed,a,a\n1,2,3\n", "the first line of labels.csv has two columns 'a': rename one"),
        ("seed,a\n1\n", "line 2 of labels.csv has 1 cells, but the first line has 2: make them equal"),
        (
            "seed,a\n1,1\n,2\n",
            "line 3 of labels.csv lacks the seed of its picture: write a number or a name such as seed0004.png",
        ),
        (
            "seed,a\ncat.png,1\n",
            "line 2 of labels.csv got 'cat.png' as the seed of its picture: "
            "write a number or a name such as seed0004.png",
        ),
        (
            "seed,a\n4294967296,1\n",
            "line 2 of labels.csv got '4294967296' as the seed of its picture: "
            "write a number or a name such as seed0004.png",
        ),
        ("seed,a\n4,1\nseed0004.png,0\n", "line 3 of labels.csv labels seed 4 a second time: remove one of the rows"),
        (
            "seed,hair\n4,bun\n",
            "line 2 of labels.csv gives hair the value 'bun': write numbers, or yes and no; "
            "for a choice of several, write a column for each",
        ),
        (
            "seed,a\n4,inf\n",
            "line 2 of labels.csv gives a the value 'inf': write numbers, or yes and no; "
            "for a choice of several, write a column for each",
        ),
    ],
)
def test_tables_that_are_none(written, text, told):
    assert refusal(written(text)) == told


@pytest.mark.parametrize("content", [3, {"0": 1}, [1], {"0": {"a": 1}, "1": [2]}])
def test_json_of_another_form(written, content):
    assert refusal(written(content, "a.json")) == (
        'a.json must hold {"SEED": {"ATTRIBUTE": value, ...}, ...} or a list of objects with a seed each'
    )


def test_json_with_a_wrong_entry(written):
    assert refusal(written([{"seed": 1, "a": 1}, {"a": 1}], "a.json")) == (
        "entry 2 of a.json lacks the seed of its picture: write a number or a name such as seed0004.png"
    )
    assert refusal(written({"x": {"a": 1}}, "a.json")) == (
        "entry x of a.json got 'x' as the seed of its picture: write a number or a name such as seed0004.png"
    )
    assert refusal(written({"1": {"a": [1]}}, "a.json")) == (
        "entry 1 of a.json gives a the value [1]: write numbers, or yes and no; "
        "for a choice of several, write a column for each"
    )


def test_files_that_cannot_be_read(written, tmp_path):
    missing = tmp_path / "none.csv"
    assert refusal(missing) == "there is no file none.csv: give a CSV or JSON of seeds and their attributes"
    assert refusal(written("", "a.txt")) == "a.txt is not a file of labels: its name must end in .csv, .tsv, .json"
    assert refusal(written("{", "a.json")).startswith("a.json is not valid JSON: ")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("seed,größe\n1,2".encode("latin-1"))
    assert refusal(latin) == "latin.csv is not UTF-8 text (invalid start byte): save it as UTF-8"
    huge = written("seed,a\n1," + "9" * 200_000)
    assert refusal(huge) == "line 2 of labels.csv is not valid CSV (field larger than field limit (131072)): correct it"


def test_tables_that_are_too_large(written):
    told = "more than 1,000 attributes or 20,000,000 cells: leave some out"
    wide = written("seed" + ",a" * 1_000_000)
    assert refusal(wide) == f"labels.csv has 1,000,000 attributes of 1 pictures, {told}"
    sparse = written({str(seed): {f"a{seed}": 1} for seed in range(30_000)}, "a.json")
    assert refusal(sparse) == f"a.json has 30,000 attributes of 30,000 pictures, {told}"


def test_json_numbers_of_many_digits(written):
    assert refusal(written('{"1": {"a": ' + "9" * 10_000 + "}}", "a.json")).startswith("a.json is not valid JSON: ")
    assert refusal(written('{"1": {"a": ' + "9" * 1_000 + "}}", "a.json")) == (
        "entry 1 of a.json gives a the value a very large number: write numbers, or yes and no; "
        "for a choice of several, write a column for each"
    )
    assert refusal(written([{"seed": [[[4]]], "a": 1}], "a.json")).startswith("entry 1 of a.json lacks the seed")
