"""What a rule loses that picks one of two forms."""

import pytest
import torch

from benchmarks.forms import Found, by_turns, table


def test_regret_is_what_the_choice_loses():
    assert Found("a", {"one": 2.0, "other": 3.0}, "other").regret == pytest.approx(0.5)
    assert Found("a", {"one": 2.0, "other": 3.0}, "one").regret == 0


def test_layers_count_as_often_as_they_are_computed():
    """Best: 3 x 1 + 1 x 1 seconds; the rule: 3 x 2 + 1 x 1; one form: 3 x 1 + 1 x 4; the other: 3 x 2 + 1 x 1."""
    found = [Found("a", {"one": 1.0, "other": 2.0}, "other", 3), Found("b", {"one": 4.0, "other": 1.0}, "other")]
    assert table(found).endswith("the rule 75.0%, always one 75.0%, always other 75.0%")


def test_takes_turns_and_does_not_count_the_first():
    calls = []
    seconds = by_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, torch.device("cpu"))
    assert calls == ["a", "b"] * 3 and set(seconds) == {"a", "b"}
