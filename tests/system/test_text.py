import pytest

from system.text import harmless, printable


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


def test_lines_and_letters_stay_and_what_could_do_harm_is_spelled_out():
    assert harmless("cats & 猫,\n\tnaïve \u200d") == "cats & 猫,\n\tnaïve \u200d"
    assert harmless("\x1b]0;x\x07\r\x9b31m\x7f\x00") == r"\x1b]0;x\x07\r\x9b31m\x7f\x00"
    assert harmless("\u202eevil\u2066\u2028\ufeff") == r"\u202eevil\u2066\u2028\ufeff"
    assert harmless("\udce9t\\x") == r"\udce9t\x"
