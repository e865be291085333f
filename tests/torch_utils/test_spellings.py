import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_utils.flags import FloatList, Number, SeedList, Size


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("0-9,15", [*range(10), 15]),
        ("3-3, 1", [3, 1]),
        ("4294967295", [2**32 - 1]),
        ("007", [7]),
    ],
)
def test_seeds(text, seeds):
    assert SeedList().read(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5-", "got '5-', expected seeds such as 0-9,15, the smaller one first"),
        ("x", "got 'x', expected seeds such as 0-9,15, the smaller one first"),
        ("", "got '', expected seeds such as 0-9,15, the smaller one first"),
        ("1,,2", "got '', expected seeds such as 0-9,15, the smaller one first"),
        ("-1", "got '-1', expected seeds such as 0-9,15, the smaller one first"),
        ("1.5", "got '1.5', expected seeds such as 0-9,15, the smaller one first"),
        ("٣", "got '٣', expected seeds such as 0-9,15, the smaller one first"),
        ("9" * 5000, f"got '{'9' * 5000}', expected seeds such as 0-9,15, the smaller one first"),
        ("9-3", "got '9-3', expected seeds such as 0-9,15, the smaller one first"),
        ("4294967296", "got the seed 4294967296, expected seeds from 0 to 4294967295"),
        ("0-1000000", "got more than 1000000 seeds"),
        ("0-999999,1", "got more than 1000000 seeds"),
    ],
)
def test_wrong_seeds_are_refused(text, message):
    _refused(SeedList(), text, message)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("-1:1:0.5", [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ("0.5,0.7", [0.5, 0.7]),
        ("0:1:0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("1:-1:-1", [1.0, 0.0, -1.0]),
        ("0:1:0.4", [0.0, 0.4, 0.8]),
        ("1:1:5", [1.0]),
        ("-3, 1:2:1", [-3.0, 1.0, 2.0]),
        ("1e-2", [0.01]),
    ],
)
def test_numbers(text, numbers):
    assert FloatList().read(text) == numbers


@pytest.mark.parametrize(("text", "number"), [("0.7", 0.7), (" -1000 ", -1000.0), ("1e-2", 0.01), ("1", 1.0)])
def test_a_number(text, number):
    assert Number().read(text) == number


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-inf", "1e300", "-1001", "", "0.5,0.7"])
def test_a_wrong_number_is_refused(text):
    _refused(Number(), text, f"got {text!r}, expected a number from -1000 to 1000 such as 0.7")


def test_zero_has_no_sign():
    assert str(Number().read("-0")) == str(Number().read("-1e-9999")) == "0.0"
    assert [str(number) for number in FloatList().read("-0,-1:-0:1")] == ["0.0", "-1.0", "0.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nan", "got 'nan', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("inf", "got 'inf', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("1e999", "got '1e999', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("", "got '', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("0:x:1", "got 'x', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("0:1", "got '0:1', expected FROM:TO:STEP such as -1:1:0.5"),
        ("0:1:0", "got the step 0, expected a step that leads from 0 to 1"),
        ("0:1:-0.5", "got the step -0.5, expected a step that leads from 0 to 1"),
        ("1000.001", "got '1000.001', expected numbers from -1000 to 1000 such as 0.5,0.7 or -1:1:0.5"),
        ("0:1:1e-6", "got more than 1000000 numbers"),
        ("0:1:1e-7", "got more than 1000000 numbers"),
        ("0:1:1e-999999", "got the step 0, expected a step that leads from 0 to 1"),
        ("0:1:5e-324", "got more than 1000000 numbers"),
    ],
)
def test_wrong_numbers_are_refused(text, message):
    _refused(FloatList(), text, message)


@pytest.mark.parametrize(("text", "size"), [("512x384", (384, 512)), ("512X384", (384, 512)), (" 64 ", (64, 64))])
def test_sizes_are_written_width_first(text, size):
    assert Size().read(text) == size


@pytest.mark.parametrize("text", ["512x", "x512", "a", "", "512*384", "-4", "1.5", "0", "4x0", "65537"])
def test_wrong_sizes_are_refused(text):
    sentence = "is not a size: write WIDTHxHEIGHT such as 96x64, or one number for a square"
    _refused(Size(), text, f"'{text}' {sentence}")


@settings(max_examples=200)
@given(st.sampled_from([SeedList, FloatList, Number, Size]), st.text("0123456789-+:,.xeEnaif_ ²", max_size=12))
def test_any_text_is_read_or_refused(kind, text):
    try:
        kind().read(text)
    except ValueError as error:
        assert "got" in str(error) or "is not a size" in str(error)


def _refused(kind, text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind.read(text)
