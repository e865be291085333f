import json
import re

import pytest

from tests.torch_utils.toy import Loss, Train
from torch_utils import config


def _build(**values):
    return config.build(Train, {"kimg": 1, **{name.replace("__", "."): value for name, value in values.items()}})


def test_building_puts_values_in_place_of_defaults():
    built = _build(loss__mode="hinge", seed=3)
    assert built == Train(kimg=1, seed=3, loss=Loss(gamma=5, mode="hinge"))


def test_flattening_is_undone_by_building():
    built = _build(generator__layers=[3, 4], clip=0.5)
    flat = config.flatten(built)
    assert flat["generator.layers"] == [3, 4]
    assert list(flat) == list(config.settings(Train))
    assert config.build(Train, flat) == built
    assert config.unflatten(flat)["loss"]["betas"] == (0.0, 0.99)


def test_json_is_undone_exactly():
    built = _build(loss__gamma=0.1 + 0.2, loss__betas=(1e-300, 1 / 3), generator__layers=[1, 2], batch=4)
    assert config.from_dict(Train, json.loads(json.dumps(config.to_dict(built)))) == built
    assert config.from_dict(Train, config.to_dict(built)) == built


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("generator.channel_base=16384", 16384),
        ("loss.betas=0.5, 0.9", (0.5, 0.9)),
        ("generator.layers=3", [3]),
        ("generator.layers=", []),
        ("generator.mixed=4,b", (4, "b")),
        ("mirror=false", False),
        ("mirror=Yes", True),
        ("clip=none", None),
        ("clip=1e-3", 0.001),
        ("batch=auto", "auto"),
        ("batch=32", 32),
        ("loss.mode = hinge", "hinge"),
    ],
)
def test_set_reads_values_of_the_field(text, value):
    name = text.partition("=")[0].strip()
    read = config.parse_set(Train, [text])
    assert read == {name: value}
    assert type(read[name]) is type(value)


NUMBER = "input should be a valid integer, unable to parse string as an integer"
SET_ERRORS = {
    "generator.chanel_base=1": "generator.chanel_base: there is no such setting: did you mean generator.channel_base? "
    "(--dry-run lists all)",
    "gamma=1": "gamma: there is no such setting: did you mean loss.gamma? (--dry-run lists all)",
    "qqq=1": "qqq: there is no such setting (--dry-run lists all)",
    "gamma": "got 'gamma', expected NAME=VALUE",
    "loss=1": "loss: this is a group of settings: name one of loss.gamma, loss.betas, loss.mode, loss.decay",
    "generator.channel_base=big": f"generator.channel_base: got 'big': {NUMBER}",
    "generator.layers=0": "generator.layers: got '0': input should be greater than or equal to 1",
    "loss.gamma=-1": "loss.gamma: got '-1': input should be greater than or equal to 0",
    "loss.gamma=inf": "loss.gamma: got 'inf': input should be a finite number",
    "loss.betas=0,nan": "loss.betas: got '0,nan': input should be a finite number",
    "loss.mode=mse": "loss.mode: got 'mse': input should be 'logistic' or 'hinge'",
    "mirror=maybe": "mirror: got 'maybe': input should be a valid boolean, unable to interpret input",
    "rounds=0": "rounds: got '0': input should be greater than or equal to 1, or auto",
}


@pytest.mark.parametrize("text", SET_ERRORS)
def test_set_says_what_was_wanted(text):
    with pytest.raises(ValueError, match=f"^--set {re.escape(SET_ERRORS[text])}$"):
        config.parse_set(Train, [text])


def test_set_takes_a_name_once():
    with pytest.raises(ValueError, match=r"^--set seed was given twice: give it once$"):
        config.parse_set(Train, ["seed=1", "seed=1"])


BUILD_ERRORS = [
    ({"loss.gamma": -1.0}, "--gamma: got -1.0: input should be greater than or equal to 0"),
    ({"loss.gamma": float("nan")}, "--gamma: got nan: input should be a finite number"),
    ({"loss.betas": (0.5,)}, "--set loss.betas: got (0.5,): field required"),
    ({"loss.betas": (0.5, "x")}, "--set loss.betas: got 'x': input should be a valid number"),
    ({"batch": 13}, "--set batch=13 brings bad luck: take another"),
    ({"loss.gama": 1}, "loss.gama: there is no such setting: did you mean loss.gamma?"),
]


@pytest.mark.parametrize(("values", "message"), BUILD_ERRORS)
def test_building_says_what_was_wanted(values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        config.build(Train, {"kimg": 1, **values})
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_named():
    with pytest.raises(ValueError, match=r"^--kimg is missing: give a value$"):
        config.build(Train, {})


def test_a_configuration_of_another_version_is_refused():
    with pytest.raises(ValueError, match=r"^loss\.gamme: there is no such setting: did you mean loss\.gamma"):
        config.from_dict(Train, {"kimg": 1, "loss": {"gamme": 1}})
    with pytest.raises(ValueError, match=r"^--gamma: got 'x': input should be a valid number"):
        config.from_dict(Train, {"kimg": 1, "loss": {"gamma": "x"}})


def test_the_table_is_aligned_and_grouped():
    assert config.table(_build(generator__layers=[3, 4])) == TABLE.strip("\n")


TABLE = """
  seed          0         --seed
  kimg          1         --kimg
  mirror        true      --mirror
  clip          none      --clip
  rounds        4         --rounds
  batch         auto      --set batch
  outdir        runs      --set outdir

loss
  gamma         5         --gamma
  betas         0,0.99    --set loss.betas
  mode          logistic  --loss
  decay         0.5       --set loss.decay

generator
  channel_base  32768     --set generator.channel_base
  layers        3,4       --set generator.layers
  mixed         1,a       --set generator.mixed
"""
