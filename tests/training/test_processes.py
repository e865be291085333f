"""Several processes learn what one process learns from the same total batch, and end or start again together."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.launches import Accident, launch
from tests.training.runs import train
from tests.training.test_resume import assert_equal_runs
from torch_utils import checkpoint

# With a learning rate of next to nothing the weights stay, and Adam's memory holds the gradients themselves.
STILL = {
    "optimizer__g_lr": 1e-12,
    "optimizer__d_lr": 1e-12,
    "pace__kimg": 0.04,
    "augment__mode": "ada",
    "augment__p": 0.5,
    "augment__ada_kimg": 0.2,
    "augment__pipe": "bgcfnc",
}
# One process that computes the batch at once: groups of the minibatch statistics and streams of noise do not span
# processes.
AT_ONCE = STILL | {"loss__noise": "none", "loss__path_shrink": 1, "discriminator__mbstd_group": 1}
# One process that computes the batch in rounds of as many images as the processes have: then these are the same, too.
# The means of path lengths and of w, however, move once a round.
IN_ROUNDS = STILL | {"pace__batch_gpu": 2, "discriminator__mbstd_group": 2, "loss__path_weight": 0.0}


def folder_of(outdir: Path) -> Path:
    (folder,) = outdir.iterdir()
    return folder


def together(tmp_path: Path, processes: int, **settings: Any) -> Path:
    ended = launch(processes, tmp_path / "logs", "--outdir", str(tmp_path / "runs"), **settings)
    assert not ended.codes, ended.output
    return folder_of(tmp_path / "runs")


def assert_same_learning(alone: Path, together: Path, but: str = "no such part") -> None:
    state_a, about_a = checkpoint.load(alone / "state.safetensors")
    state_b, about_b = checkpoint.load(together / "state.safetensors")
    assert about_a["world"] == 1 < about_b["world"]
    assert state_a.keys() == state_b.keys()
    compared = 0
    for key, a in state_a.items():
        learned = (key.startswith("recipe.") and "networks" not in key) or key.endswith("w_average")
        if learned and but not in key:
            torch.testing.assert_close(a, state_b[key], atol=1e-5 * float(a.abs().max() + 1e-12), rtol=1e-4, msg=key)
            compared += "exp_avg_sq" in key and bool(a.any())
    assert compared > 40


def assert_same_statistics(alone: Path, together: Path) -> None:
    """Every mean is that of all processes. Values of a sample are as many as ever, those of a batch one a process."""
    a, b = ([json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()] for run in (alone, together))
    assert len(a) == len(b) > 0
    for record, other in zip(a, b, strict=True):
        for name in [name for name in record if name.startswith(("loss/", "scores/", "signs/", "r1/", "path/"))]:
            mine, theirs = record[name], other[name]
            assert mine["mean"] == pytest.approx(theirs["mean"], rel=1e-4, abs=1e-6), name
            if name.startswith(("scores/", "signs/", "r1/")):
                assert mine["count"] == theirs["count"], name
                assert mine["std"] == pytest.approx(theirs["std"], rel=1e-3, abs=1e-5), name


def test_two_processes_equal_one(tmp_path):
    one, two = train(tmp_path / "alone", **AT_ONCE), together(tmp_path, 2, **AT_ONCE)
    assert_same_learning(one, two)
    assert_same_statistics(one, two)
    assert kinds(one) == kinds(two)  # the first process alone writes
    assert two.joinpath("log.txt").read_text().count("done; make pictures") == 1


def kinds(run: Path) -> list[str]:
    return sorted("events" if "tfevents" in p.name else p.name for p in run.iterdir())


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.proof)])
def test_processes_equal_one_in_rounds(tmp_path, processes):
    """With noise, style mixing, classes, R1 and groups of the minibatch statistics."""
    settings = IN_ROUNDS | {"pace__batch": 2 * processes}
    alone = train(tmp_path / "alone", **settings)
    several = together(tmp_path / "several", processes, **settings)
    assert_same_learning(alone, several, but="w_average")
    assert_same_statistics(alone, several)


LENGTH: dict[str, Any] = {"pace__kimg": 0.08, "pace__snap": 1, "pace__batch": 8}


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> Path:
    """An uninterrupted run of two processes."""
    return together(tmp_path_factory.mktemp("whole"), 2, **LENGTH)


def test_two_processes_resume_exactly(of_two, tmp_path):
    """Stopped in the middle of a tick, where the statistics of both are open."""
    accident = Accident("SIGTERM", at=7)
    stopped = launch(2, tmp_path / "logs1", "--outdir", str(tmp_path / "runs"), accident=accident, **LENGTH)
    assert not stopped.codes and "resume with: torchrun --nnodes=1 --nproc-per-node=2" in stopped.output
    resumed = launch(2, tmp_path / "logs2", "--resume", str(folder_of(tmp_path / "runs")), **LENGTH)
    assert not resumed.codes, resumed.output
    assert_equal_runs(of_two, folder_of(tmp_path / "runs"))


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.proof)])
def test_a_killed_process_is_started_again_and_the_run_ends_as_if_nothing_had_been(of_two, tmp_path, processes):
    """torchrun --max-restarts 1: the second attempt continues with the run of the first from its last state."""
    whole = of_two if processes == 2 else together(tmp_path / "whole", processes, **LENGTH)
    ended = launch(
        processes,
        tmp_path / "logs",
        *("--outdir", str(tmp_path / "runs")),
        accident=Accident("SIGKILL", number=processes - 1, at=7),
        restarts=1,
        **LENGTH,
    )
    assert not ended.codes, ended.output
    assert "resumed at kimg 0.040" in ended.output  # and killed at 0.056, in the middle of a tick
    assert_equal_runs(whole, folder_of(tmp_path / "runs"))


ACCIDENTS = {
    "mistake": ("ValueError: a picture is broken", {0: 2, 1: 2}, "Error: a picture is broken\n", "a picture is broken"),
    "defect": ("KeyError: oops", {0: 1, 1: 1}, "process 1 failed:\nTraceback", "process 1: KeyError: 'oops'"),
    "kill": ("SIGKILL", {0: 1, 1: -9}, "Error: the connection to another process broke", "EndedError"),
    "silence": ("silence", {0: 1}, "Error: another process has not answered in time", "LostError"),
}


@pytest.mark.parametrize("case", ACCIDENTS)
def test_a_failing_process_ends_the_run_with_its_error_told_once(tmp_path, case):
    what, codes, told, logged = ACCIDENTS[case]
    patience = 0.05 if case == "silence" else 1  # minutes
    ended = launch(2, tmp_path / "logs", "--outdir", str(tmp_path / "runs"), accident=Accident(what), patience=patience)
    assert ended.codes.items() <= codes.items() and ended.codes
    assert ended.output.count("Error: ") + ended.output.count("Traceback") == 1 + (case == "defect")
    assert told in ended.output
    assert logged in (folder_of(tmp_path / "runs") / "log.txt").read_text()


def test_a_mistake_is_told_once(tmp_path):
    ended = launch(2, tmp_path / "logs", data__path=str(tmp_path / "nothing.zip"))
    assert set(ended.codes.values()) == {2}
    assert ended.output.count("Error: ") == 1 and "nothing.zip does not exist" in ended.output


def test_the_first_alone_answers_a_question(tmp_path):
    ended = launch(2, tmp_path / "logs", "--dry-run")
    assert not ended.codes and ended.output.count("Discriminator") == 1
