"""A command whose options depend on --model: one learner of "gan" with --gamma, one of "denoiser" with --steps."""

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from torch_utils import cli
from torch_utils.cli import Command, More
from torch_utils.flags import flags


def _field(flag, default):
    return Field(default, ge=0, description="A number.", json_schema_extra={"flag": flag, "group": "Training"})


class Gan(BaseModel):
    gamma: float = _field("--gamma", 10.0)
    kimg: float = _field("--kimg", 1.0)


class Denoiser(BaseModel):
    steps: int = _field("--steps", 50)
    kimg: float = _field("--kimg", 1.0)


MODELS = {"gan": Gan, "denoiser": Denoiser}


def _more(values):
    model = values["model"] or "gan"
    if model not in MODELS:
        raise ValueError(f"--model {model}: expected gan or denoiser")
    mine = flags(MODELS[model])
    others = {name.title(): flags(other) for name, other in MODELS.items() if name != model}
    note = "\nMore models follow.\n" if values["help"] else ""
    return More(model, mine, others, MODELS[model], note)


def _run(*arguments):
    @click.command(cls=Command, more=_more)
    @cli.option("--model", default="gan", group="Model", help="What learns.")
    @cli.option("--size", type=cli.Size(), group="Model", help="Size.")
    def main(model, size, **params):
        click.echo(f"{click.get_current_context().obj.__name__} {model} {size} {dict(sorted(params.items()))}")

    return CliRunner().invoke(main, arguments, prog_name="x.py")


def _refusal(*arguments):
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    return result.output.split("Error: ", 1)[1].strip()


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "Gan gan None {'gamma': None, 'kimg': None}"),
        (["--gamma", "5"], "Gan gan None {'gamma': 5.0, 'kimg': None}"),
        (["--steps", "7", "--model", "denoiser"], "Denoiser denoiser None {'kimg': None, 'steps': 7}"),
        (["--model=denoiser", "--kimg", "2"], "Denoiser denoiser None {'kimg': 2.0, 'steps': None}"),
    ],
)
def test_the_model_decides_the_options(arguments, output):
    result = _run(*arguments)
    assert (result.exit_code, result.output) == (0, output + "\n")


def test_help_lists_the_options_of_the_model_alone():
    told = _run("--model", "denoiser", "--help").output
    assert "--steps INT" in told and "--gamma" not in told and told.endswith("More models follow.\n")
    assert "--gamma FLOAT" in _run("-h").output and "--steps" not in _run("-h").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--model", "denoiser", "--gamma", "5"],
            "--gamma does not apply to denoiser, only to Gan: leave it out",
        ),
        (["--steps=7"], "--steps does not apply to gan, only to Denoiser: leave it out"),
        (["--model", "foo", "--steps=7"], "--model foo: expected gan or denoiser"),
        (["--gama", "3"], "No such option '--gama'. Did you mean '--gamma'?"),
        (["--gamma", "-1"], "--gamma': got '-1': input should be greater than or equal to 0"),
        (["--size", "x", "--model", "denoiser"], "--size': 'x' is not a size"),
        (["--kimg", "2", "--gamma"], "Option '--gamma' requires an argument."),
        (["--model"], "Option '--model' requires an argument."),
    ],
)
def test_mistakes_are_told_as_those_of_any_command(arguments, sentence):
    assert sentence in _refusal(*arguments)
