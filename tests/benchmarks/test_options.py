"""What an option of train.py changes in the time of a step."""

from click.testing import CliRunner

from benchmarks import options

TINY = "--resolution 16x8 --channel-base 64 --mapping-layers 2 --batch 2 --iterations 1 --threads 1"


def run(*arguments: str):
    return CliRunner().invoke(options.main, [*arguments, *TINY.split()])


def test_checkpointing_is_timed_beside_a_step_without_it(monkeypatch):
    timed = []

    def beside(plain, other, iterations, device):
        timed.append([recipe.D.recompute for recipe in (plain, other)])
        return beside_(plain, other, iterations, device)

    beside_ = options.beside
    monkeypatch.setattr(options, "beside", beside)
    found = run("--option", "checkpoint-activations")
    assert found.exit_code == 0 and timed == [[False, True]]
    lines = found.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [["Gmain", "1"], ["Gpath", "4"], ["Dmain", "1"], ["Dr1", "16"]]
    assert "added to a mean iteration" in lines[-1]


def test_passes_that_cannot_be_compiled_are_not_timed(monkeypatch):
    monkeypatch.setattr(options, "compile_passes", lambda recipe: "--compile does not work here (no): training goes on")
    found = run("--option", "compile")
    assert found.exit_code == 2 and "--compile does not work here (no)" in found.output


def test_the_option_is_one_of_two():
    assert run("--option", "deterministic").exit_code == 2
