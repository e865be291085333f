"""Processes that were started differently end with a sentence, before anything is learned."""

import shutil
from pathlib import Path

import pytest

from tests.training.launches import Ended, launch
from tests.training.runs import train


def told_once(ended: Ended) -> str:
    """The one sentence of processes that were refused."""
    assert set(ended.codes.values()) == {2}, ended.output
    assert ended.output.count("Error: ") == 1 and "Traceback" not in ended.output
    return " ".join(ended.output.split("Error: ")[1].split())


@pytest.mark.parametrize(
    "first, second, told",
    [
        (["--kimg=0.02"], ["--kimg=0.02", "--seed=5"], "--seed (not given and 5)"),
        (
            ["--kimg=0.02", "--batch-gpu=2"],
            ["--kimg=0.03", "--batch-gpu=auto", "--set=optimizer.g_lr=0.003"],
            "--set optimizer.g_lr (not given and 0.003), --batch-gpu (2 and auto), --kimg (0.02 and 0.03)",
        ),
    ],
)
def test_settings_that_differ_are_named(tmp_path, first, second, told):
    ended = launch(2, tmp_path / "logs", "--outdir", str(tmp_path / "runs"), own={0: first, 1: second})
    sentence = (
        f"the processes have different settings, {told}: start all of them with the same command and the same files"
    )
    assert told_once(ended) == sentence
    assert not (tmp_path / "runs").exists()


def test_what_belongs_to_a_machine_may_differ(tmp_path):
    outdir = str(tmp_path / "runs")
    ended = launch(2, tmp_path / "logs", "--outdir", outdir, own={1: ["--workers", "1"]}, pace__kimg=0.02)
    assert not ended.codes, ended.output


@pytest.fixture
def stopped(tmp_path) -> Path:
    return train(tmp_path / "runs", stop_at=2, metrics="none", pace__kimg=0.02)


def test_one_that_resumes_and_one_that_begins(tmp_path, stopped):
    outdir = str(tmp_path / "runs")
    ended = launch(2, tmp_path / "logs", "--outdir", outdir, own={1: ["--resume", str(stopped)]}, pace__kimg=0.02)
    assert "--resume (none and state " in told_once(ended)


def test_states_of_one_moment_that_differ(tmp_path, stopped):
    """As many iterations, and the same settings, but not the same weights."""
    other = train(tmp_path / "other", stop_at=2, metrics="none", pace__kimg=0.02, data__mirror=True)
    shutil.copy(stopped / "state.safetensors", tmp_path / "state.safetensors")
    own = {0: ["--resume", str(stopped)], 1: ["--resume", str(other)]}
    ended = launch(2, tmp_path / "logs", own=own, pace__kimg=0.02)
    assert "--resume (state " in told_once(ended)
