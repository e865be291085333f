import pytest

from system.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cats & 猫, naïve", "cats & 猫, naïve"),
        ("\x1b]0;owned\x07", "?]0;owned?"),
        ("two\nlines\r\tand \x9b31m", "two?lines??and ?31m"),
        ("\u202eevil\u2066", "?evil?"),  # marks that turn the direction of writing
        ("\udce9t\ud83d", "?t?"),  # halves of surrogate pairs, as in names that are not UTF-8
        ("\u2028\u2029\u200b", "???"),
    ],
)
def test_nothing_reaches_a_terminal_but_letters(text, shown):
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_a_long_text_is_cut():
    assert printable("x" * 400) == "x" * 400
    assert printable("x" * 10**7) == "x" * 397 + "..."
    assert printable("abcdefgh", most=6) == "abc..."


def test_other_values_are_not_spelled():
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]  # its text would have 2 ** 60 brackets
    assert printable(nested) == "a value of type list"
    assert printable(10**5000) == "a value of type int"
