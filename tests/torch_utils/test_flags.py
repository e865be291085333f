import click
import pytest
from click.testing import CliRunner

from tests.torch_utils.toy import Train
from torch_utils.cli import Command, option
from torch_utils.config import build
from torch_utils.flags import flags, given


def _given(*arguments):
    found = {}

    @click.command(cls=Command, params=flags(Train))
    @option("--set", "sets", multiple=True, group="Run")
    def main(sets, **params):
        found.update(given(Train, params, sets))

    result = CliRunner().invoke(main, arguments)
    return found if result.exit_code == 0 else (result.exit_code, result.output.strip().splitlines()[-1])


def test_only_what_was_given_is_given():
    assert _given() == {}
    assert _given("--gamma", "0", "--no-mirror", "--set", "batch=4") == {
        "loss.gamma": 0.0, "mirror": False, "batch": 4
    }  # fmt: skip
    assert _given("--mirror", "--loss", "hinge", "--clip", "0.5") == {
        "mirror": True, "loss.mode": "hinge", "clip": 0.5
    }  # fmt: skip


def test_a_word_may_stand_for_a_value_that_is_found_later():
    assert _given("--rounds", "auto") == _given("--set", "rounds=auto") == {"rounds": "auto"}
    assert _given("--rounds", "3") == {"rounds": 3}
    with pytest.raises(ValueError, match=r"^--rounds: got 'auto': input should be a valid integer"):
        build(Train, {"kimg": 1.0, "rounds": "auto"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gamma", "-1"], "Error: Invalid value for '--gamma': got '-1': input should be greater than or equal to 0"),
        (["--kimg", "0"], "Error: Invalid value for '--kimg': got '0': input should be greater than 0"),
        (["--loss", "x"], "Error: Invalid value for '--loss': 'x' is not one of 'logistic', 'hinge'."),
        (
            ["--rounds", "0"],
            "Error: Invalid value for '--rounds': got '0': input should be greater than or equal to 1, or auto",
        ),
        (
            ["--seed", "1", "--set", "seed=1"],
            "Error: --seed and --set seed are the same setting: give one of them",
        ),
    ],
)
def test_limits_are_those_of_the_field(arguments, message):
    assert _given(*arguments) == (2, message)


def test_help_shows_description_default_limits_and_group():
    context = click.Context(click.Command("x"), show_default=True)
    records = [(option.group, *(option.get_help_record(context) or ())) for option in flags(Train)]
    assert records == [
        ("Training", "--gamma FLOAT", "Strength of R1.  [default: depends on preset and data, see --dry-run; x>=0]"),
        ("Training", "--loss [logistic|hinge]", "Kind of loss.  [default: logistic]"),
        ("Run", "--seed INT", "Seed of all draws.  [default: 0; 0<=x<4294967296]"),
        ("Training", "--kimg FLOAT", "Length.  [default: required; x>0]"),
        ("Data", "--mirror / --no-mirror", "Mirror.  [default: mirror]"),
        ("Data", "--clip FLOAT", "Clip.  [x>0]"),
        ("Run", "--rounds INT|auto", "Parts of a step.  [default: 4; x>=1]"),
    ]
