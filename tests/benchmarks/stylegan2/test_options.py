"""What an option of train.py changes in the time of a step."""

import pytest
from click.testing import CliRunner

from benchmarks.stylegan2 import options

TINY = "--resolution 16x8 --channel-base 64 --mapping-layers 2 --batch 2 --iterations 1 --threads 1"


def run(*arguments: str):
    return CliRunner().invoke(options.main, [*arguments, *TINY.split()])


@pytest.mark.parametrize("name", ["checkpoint-activations", "aug"])
def test_every_phase_is_timed_with_and_without(name, monkeypatch):
    timed = []
    measure = options.measure
    monkeypatch.setattr(options, "measure", lambda *both: timed.extend(both[:2]) or measure(*both))
    found = run("--option", name)
    assert found.exit_code == 0, found.output
    assert [recipe.D.recompute for recipe in timed] == [False, name == "checkpoint-activations"]
    assert [recipe.config.augment.mode for recipe in timed] == ["none", "fixed" if name == "aug" else "none"]
    lines = found.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [["Gmain", "1"], ["Gpath", "4"], ["Dmain", "1"], ["Dr1", "16"]]


def test_a_phase_is_weighted_by_its_frequency():
    text = options.table({"Gmain": 1, "Dr1": 16}, {"Gmain": 1.0, "Dr1": 4.0}, {"Gmain": 1.5, "Dr1": 6.0})
    assert text.endswith(f"added to a mean iteration: {(1.5 + 6 / 16) / 1.25 - 1:.1%}")


def test_passes_that_cannot_be_compiled_are_not_timed(monkeypatch):
    monkeypatch.setattr(options, "compile_passes", lambda recipe: "--compile does not work here (no)")
    found = run("--option", "compile")
    assert found.exit_code == 2 and "--compile does not work here (no)" in found.output


def test_other_options_are_refused():
    assert run("--option", "deterministic").exit_code == 2
