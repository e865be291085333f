import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from benchmarks import loop
from benchmarks.loop import Overhead, appointments
from benchmarks.turns import BareSteps, Turns
from tests.training.runs import tiny
from training import plan as plans
from training.config import PaceConfig

FLAGS = [f"--set={name}={value}" for name, value in tiny().items() if "max_images" not in name]


def found(**more):
    values = {"bare": 1.0, "rest": 0.1, "new_waiting": 0.45, "old_waiting": 0.05, "new_share": 0.25}
    occasions, every = {"tick": 1.0, "snapshot": 4.0}, {"tick": 100.0, "snapshot": 200.0}
    return Overhead(batch=8, rest_quartiles=(0.0, 0.2), **values | more, occasions=occasions, every=every)


def test_everything_is_charged_at_its_natural_share():
    assert found().charges == {"tick": 0.01, "snapshot": 0.02}
    assert found().waiting == pytest.approx(0.15)
    assert found().loop == pytest.approx(1 + 0.1 + 0.15 + 0.03)
    assert found().share == pytest.approx(1 / 1.28)
    assert found(new_share=1.0).loop == pytest.approx(1.58)


def test_appointments_are_those_of_the_run():
    pace = PaceConfig(batch=8, batch_gpu=8, tick=1.0, snap=5, state_minutes=10)
    assert appointments(pace, 0.08) == {"tick": 125, "snapshot": 625, "state": 625}  # snapshots after 50 seconds
    assert appointments(pace, 2.5) == {"tick": 125, "snapshot": 625, "state": 625 / 3}  # after 26 minutes
    assert appointments(pace.model_copy(update={"state_minutes": 0}), 2.5)["state"] == 625


def test_a_cycle_is_set_beside_the_bare_ones_around_it(tmp_path):
    """While the machine slows down to a fifth, the loop stays a tenth slower than the bare steps, waiting apart."""
    plan = plans.begin(tiny(), tmp_path)
    turns = Turns(iter(()), SimpleNamespace(spent=0.0), None, 2)
    turns.bare = [8.0, 10.0, 20.0, 30.0, 40.0]  # the first of each is the one that warms up
    turns.loop = [99.0, 1.1 * 9 + 3, 1.1 * 15 + 5, 1.1 * 25 + 1, 1.1 * 35 + 2]
    turns.waited = [9.0, 3.0, 5.0, 1.0, 2.0]
    run = SimpleNamespace(seconds={"tick": [1.0, 2.0, 9.0], "snapshot": [3.0], "state": [4.0]})
    one = loop.overhead(plan, turns, run, new=3)
    assert one.bare == 25 / 2 and one.rest == pytest.approx(0.1 * 25 / 2)
    assert one.rest_quartiles == pytest.approx((one.rest, one.rest))
    assert one.new_waiting == pytest.approx((9 + 3 + 5) / 3 / 2) and one.old_waiting == 1.5 / 2
    assert one.occasions == {"tick": 2.0, "snapshot": 3.0, "state": 4.0}
    only_new, only_old = (loop.overhead(plan, turns, run, new) for new in (9, 0))
    assert (only_new.new_waiting, only_new.old_waiting) == (4 / 2, 3 / 2)  # of all five cycles
    assert (only_old.new_waiting, only_old.old_waiting) == (2.75 / 2, 2.5 / 2)


def test_the_loop_and_the_bare_steps_come_to_the_same_weights(tmp_path, monkeypatch):
    """So they did the same work, and half of it with images that were new."""
    kept = {}
    honest = loop.overhead

    def overhead(plan, turns, run, new):
        kept.update(turns=turns, run=run, new=new)
        return honest(plan, turns, run, new)

    recipes = []
    monkeypatch.setattr(loop, "beginning", lambda plan, make=loop.beginning: recipes.append(make(plan)) or recipes[-1])
    monkeypatch.setattr(loop, "overhead", overhead)
    plan = plans.begin(tiny(), tmp_path)
    one = loop.measure(plan, 4, tmp_path)
    trained, bare = recipes
    assert trained is not bare
    for (name, a), b in zip(trained.D.named_parameters(), bare.D.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert all(torch.equal(a, b) for a, b in zip(trained.G.buffers(), bare.G.buffers(), strict=True))
    turns, run = kept["turns"], kept["run"]
    assert turns.cycle == 16 and len(turns.loop) == len(turns.bare) == len(turns.waited) == 5
    assert all(0 < waited < whole for waited, whole in zip(turns.waited, turns.loop, strict=True))
    assert {name: len(seconds) for name, seconds in run.seconds.items()} == {"tick": 3, "snapshot": 2, "state": 2}
    assert one.bare > 0 and 0 < one.share < 2
    assert one.new_share == 40 / 20_000  # of the set that was given, not of the part that was measured


def test_what_the_run_times_by_itself_is_not_the_loops(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("benchmarks.turns.time.perf_counter", lambda: float(next(clock)))

    class Run:
        device, spent = torch.device("cpu"), 0.0

    class Bare(BareSteps):
        def __init__(self):
            self.shown = []

        def take(self, batches):
            self.shown.append(batches)
            return 7.0

    run, bare = Run(), Bare()
    turns = Turns(iter("abcdef"), run, bare, 2)
    assert [next(turns), next(turns)] == ["a", "b"]
    run.spent = 1.5
    assert next(turns) == "c"
    # The clock ticks once a reading: at the beginning, before and after each of two batches, and at the end.
    assert turns.loop == [5 - 1.5] and turns.waited == [2] and turns.bare == [7.0] and run.spent == 0
    next(turns)
    turns.take()
    assert bare.shown == [["a", "b"], ["c", "d"]] and len(turns.loop) == 2


def test_prints_a_table_or_json():
    result = CliRunner().invoke(loop.main, [*FLAGS, "--cycles", "4"])
    assert result.exit_code == 0, result.output
    for words in ("demo16, preset demo, batch 4, cpu, fp32", "bare steps", "waiting for a batch", "the loop"):
        assert words in result.stdout
    assert "kimg" not in result.stdout  # the run's own lines go elsewhere
    result = CliRunner().invoke(loop.main, [*FLAGS, "--cycles", "4", "--json"])
    assert 0 < json.loads(result.stdout)["share"] < 2


def test_refuses_in_one_sentence():
    result = CliRunner().invoke(loop.main, ["--data", "nowhere.zip"])
    assert result.exit_code == 2
    assert "nowhere.zip does not exist: give a ZIP or a folder of images" in result.output
