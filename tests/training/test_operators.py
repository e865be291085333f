"""A run says which implementation of the operators it used, and when it continues with another."""

from pathlib import Path

import pytest

from custom_ops import build
from models.families import read_network
from tests.training.runs import resume, train
from torch_utils import runs
from training import plan as plans
from training.state import read_state


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("runs"), pace__kimg=0.02)


def operators(folder: Path) -> str:
    return read_state(runs.resolve(str(folder), folder.parent)).facts.operators


def test_the_files_of_a_run_and_its_log_say_it(finished):
    which = build.implementation("cpu")
    assert operators(finished) == which
    (network,) = finished.glob("network-000000.0*.safetensors")
    assert read_network(network).metadata["operators"] == which
    assert f"training to kimg 0.02 on cpu in fp32, {which} operators" in (finished / "log.txt").read_text().splitlines()


def test_resuming_with_the_same_needs_no_note(finished):
    assert plans.resume(str(finished), {}, finished.parent).notes == ()


def test_resuming_with_others_is_noted(finished, monkeypatch):
    before = build.implementation("cpu")
    after = {"native": "pytorch", "pytorch": "native"}[before]
    monkeypatch.setattr(build, "implementation", lambda device: after)
    monkeypatch.setattr(build, "shortfall", lambda device: "the moon is full: wait")
    resume(finished, pace__kimg=0.04)
    lines = (finished / "log.txt").read_text().splitlines()
    assert f"operators: {before} before, {after} now: the run will not be the same to the last bit" in lines
    assert f"training to kimg 0.04 on cpu in fp32, {after} operators" in lines
    assert "native operators are off: the moon is full: wait" in lines
    assert operators(finished) == after
