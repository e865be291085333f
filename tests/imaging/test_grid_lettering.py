from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.grid import Lettering, _font


def ink(label: str, size: int = 11) -> Any:
    """Whether there is ink in each column of a label."""
    letters = Lettering(size)
    canvas = Image.new("L", (letters.width(label) + 4, letters.height + 6), 255)
    letters.write(canvas, 2, canvas.height // 2, label)
    return (np.asarray(canvas) < 128).any(axis=0)


def longest_gap(label: str, size: int) -> int:
    """Columns without ink between two that have some, as many as there are in a row."""
    columns = np.flatnonzero(ink(label, size))
    return int(np.diff(columns).max()) - 1


@pytest.mark.parametrize("size", [11, 12, 16, 28])
@pytest.mark.parametrize("label", ["as it is", "seed 85", "faces, aliens from 16"])
def test_words_stand_apart(label, size):
    within = max(longest_gap(word, size) for word in label.split() if len(word) > 1)
    assert longest_gap(label, size) >= within + 3


@pytest.mark.parametrize(
    "label", ["two\nlines", "\x1b[31mred", "r\udce9sum\udce9", "猫 犬", "\U0001f600", "ß é Ω", "x" * 5000, ""]
)
def test_any_text_can_be_a_label(label):
    assert len(ink(label)) < 1500


def test_other_letters_are_drawn_with_a_font_that_has_them():
    if _font(20, frozenset("Ω")) is _font(20, frozenset("a")):
        pytest.skip("no other font on this machine")
    assert not np.array_equal(ink("Ω", 20), ink("Д", 20))
