"""Typing mistakes end with what to type instead, in every script."""

import importlib
import shlex

import click
import pytest
from click.testing import CliRunner


def run(line: str) -> str:
    """The refusal of a command line: `train.py --cfg auto`."""
    script, *arguments = shlex.split(line)
    main = importlib.import_module(script.removesuffix(".py")).main
    result = CliRunner().invoke(main, arguments, prog_name=script)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.output.strip().splitlines()[-1].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train.py --cfg=auto --cond=True", "No such option '--cfg': use --preset."),
        ("train.py --dataset cats.zip", "use --data."),
        ("train.py --ckpt a.pkl", "use --transfer."),
        ("generate.py --truncation_psi=0.5", "use --psi."),
        ("generate.py --ckpt a.pkl", "use --network."),
        ("project.py --learning-rate 0.2", "use --rate."),
        ("dataset_tool.py --size 64", "use --resolution."),
        ("dataset_tool.py --output x.zip", "use --dest."),
        ("generate.py --seedz 3", "No such option '--seedz'. (Did you mean one of: '--noise-seed', '--seeds'?)"),
        ("dataset_tool.py inspekt photos", "No such command 'inspekt'. Did you mean 'inspect'?"),
        ("train.py --mirror=True", "Option '--mirror' does not take a value."),
        ("train.py --data my pictures", "unexpected argument pictures: options begin with --; join several values"),
        ("train.py --data --mirror", "--data needs a value, and --mirror follows it"),
        ("generate.py --device cuda:1", "choose the GPU with CUDA_VISIBLE_DEVICES=1 before python"),
        ("train.py --device 2", "choose the GPU with CUDA_VISIBLE_DEVICES=2 before python"),
        ("train.py --kimg 5,00", "Invalid value for '--kimg': got '5,00': input should be a valid number"),
        ("train.py --resume --outdir .", "there is no run in . to resume"),
    ],
)
def test_the_error_says_what_to_type(tmp_path, monkeypatch, line, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in run(line)


@pytest.mark.parametrize(
    "line",
    [
        "--aug ADA --preset Auto --device CPU --kimg 5,000",
        "--kimg 5_000 --device cpu --max_images 1,000 --data demo",
        "--set loss.kind=RPGAN --set pace.kimg=5,000 --set augment.mode=None --device Cpu",
    ],
)
def test_case_underscores_and_separators_are_accepted(line):
    import train

    result = CliRunner().invoke(train.main, [*shlex.split(line), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "kimg                    5000 " in result.output


def test_choices_are_accepted_in_upper_case_and_with_underscores():
    import dataset_tool
    import project

    def value(main: click.Command, name: str, text: str) -> object:
        param = next(param for param in main.params if param.name == name)
        return param.type_cast_value(main.make_context("x", [], resilient_parsing=True), text)

    assert value(project.main, "space", "W+") == "w+"
    assert value(dataset_tool.main.commands["convert"], "transform", "Center_Crop") == "center-crop"
