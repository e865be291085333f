"""A run that is stopped and resumed is, bit for bit, the run that was never stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import resume, tiny, train
from torch_utils import checkpoint, runs
from torch_utils.launch import STOPPING
from training import plan as plans
from training.run import Run
from training.state import read_state
from training.stylegan2.config import StyleGAN2Config

LENGTH: dict[str, Any] = {"pace__kimg": 0.16}  # 40 iterations: 10 of path length, 3 of R1, 8 ticks, 3 snapshots
STOPS = [3, 18, 31]  # no multiples of 4 or 16, nor ends of a tick (5 iterations)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("whole"), **LENGTH)


def without_timings(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in record.items() if not k.startswith(("timing/", "time/", "memory/"))} for record in records
    ]


def log_without_timings(folder: Path) -> list[str]:
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("kimg ")]
    return [re.sub(r"(time|sec/kimg|img/s|ETA|mem) +((\d+[hmdsG] ?)+|[\d.]+G?) *", "", line) for line in lines]


def assert_equal_runs(a: Path, b: Path, log: bool = True) -> None:
    """`log`: also what was said of each tick, which a killed run says again after its last state."""
    for name in ("state.safetensors", *sorted(p.name for p in a.glob("network-*"))):
        tensors_a, about_a = checkpoint.load(a / name)
        tensors_b, about_b = checkpoint.load(b / name)
        assert tensors_a.keys() == tensors_b.keys()
        for key in tensors_a:
            assert tensors_a[key].dtype == tensors_b[key].dtype
            assert torch.equal(tensors_a[key], tensors_b[key]), f"{name}: {key}"
        tree_a, tree_b = about_a.pop("tree", {}), about_b.pop("tree", {})
        assert about_a == about_b
        assert strip_seconds(tree_a) == strip_seconds(tree_b)
    for picture in a.glob("*.png"):
        assert picture.read_bytes() == (b / picture.name).read_bytes()
    assert without_timings(a) == without_timings(b)
    assert not log or log_without_timings(a) == log_without_timings(b)


def strip_seconds(tree) -> str:
    return re.sub(r'"seconds", [0-9.e-]+', "", json.dumps(tree))


def test_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    folder = train(tmp_path, stop_at=STOPS[0], **LENGTH)
    for stop in [*STOPS[1:], None]:
        folder = resume(folder, stop_at=stop)
    state = read_state(runs.resolve(str(folder), tmp_path))
    assert state.clock.iteration == 40 and state.clock.seen == 160
    assert (
        state.tree["recipe"]["optimizers"]["G"].keys()
        == read_state(runs.resolve(str(uninterrupted), tmp_path)).tree["recipe"]["optimizers"]["G"].keys()
    )
    assert_equal_runs(uninterrupted, folder)


def test_it_is_one_stream_in_rounds_too(tmp_path):
    """The same with gradient accumulation and a class-less set, whose state has other tensors."""
    options = {"pace__kimg": 0.076, "pace__batch_gpu": 2, "data__labels": "none", "loss__path_shrink": 4}
    whole = train(tmp_path / "whole", **options)
    folder = resume(train(tmp_path / "parts", stop_at=18, **options))
    assert_equal_runs(whole, folder)


def test_a_crash_loses_what_came_after_the_last_state_and_nothing_else(uninterrupted, tmp_path):
    """Log lines written after the state are dropped and written again."""
    folder = train(tmp_path, stop_at=18, **LENGTH)
    with (folder / "stats.jsonl").open("a") as file:
        file.write('{"seen": 100, "time/seconds": 1}\n{"seen": 12')
    (folder / "state.safetensors.999999.tmp").write_bytes(b"half a state")
    assert_equal_runs(uninterrupted, resume(folder))


def test_a_damaged_state_is_noticed_and_the_one_before_taken(uninterrupted, tmp_path, capsys):
    folder = resume(train(tmp_path, stop_at=18, **LENGTH), stop_at=31)
    state = folder / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-100] ^= 1
    state.write_bytes(data)
    plan = plans.resume(str(folder), {}, tmp_path)
    assert plan.state is not None and plan.state.clock.iteration == 30  # that of the snapshot
    assert "loaded state-previous.safetensors instead" in plan.notes[0]
    assert_equal_runs(uninterrupted, resume(folder))
    # the damaged one never took the place of the whole one
    assert read_state(runs.Resumable(folder, folder / "state-previous.safetensors", None)).clock.iteration == 30
    assert (folder / "state-damaged.safetensors").exists()


def test_more_kimg_goes_on(uninterrupted, tmp_path):
    short = train(tmp_path, pace__kimg=0.08)
    assert_equal_networks(uninterrupted, resume(short, pace__kimg=0.16))


def assert_equal_networks(a: Path, b: Path) -> None:
    (last_a, *_), (last_b, *_) = (sorted(folder.glob("network-*"), reverse=True) for folder in (a, b))
    tensors_a, tensors_b = checkpoint.load(last_a)[0], checkpoint.load(last_b)[0]
    assert tensors_a and all(torch.equal(tensors_a[key], tensors_b[key]) for key in tensors_a)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"loss.gamma": 3.0}, "--gamma is 3, but this run has 10: leave it out, or start a new run"),
        ({"pace.batch": 8}, "--batch is 8, but this run has 4"),
        ({"generator.w_dim": 16}, "--set generator.w_dim is 16, but this run has 8"),
        ({"preset": "auto"}, "--preset is auto, but this run has demo"),
        ({"data.labels": "none"}, "--labels is none, but this run has auto"),
    ],
)
def test_options_that_contradict_the_run_are_refused(uninterrupted, given, message):
    with pytest.raises(ValueError) as error:
        plans.resume(str(uninterrupted), given, uninterrupted.parent)
    assert message in str(error.value)


def test_options_given_again_are_accepted(uninterrupted):
    given = tiny() | {"device": "auto", "workers": 3}
    plan = plans.resume(str(uninterrupted), given, uninterrupted.parent)
    assert plan.config.workers == 3 and plan.config.device == "cpu"


def test_a_signal_finishes_the_step_saves_and_names_the_command(tmp_path):
    """Sent to the whole group, as a terminal and a job scheduler do: workers that read images get it, too."""
    sets = [f"--set={name}={value}" for name, value in tiny(pace__kimg=100, workers=1).items()]
    command = [sys.executable, "train.py", "--outdir", str(tmp_path), *sets]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not any("kimg 0." in log.read_text() for log in tmp_path.glob("*/log.txt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    (folder,) = tmp_path.iterdir()
    assert process.returncode == 0 and f"resume with: python train.py --resume {folder}" in output
    state = read_state(runs.resolve(str(folder), tmp_path))
    assert state.clock.seen == 4 * state.clock.iteration > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_processes_forked_from_a_run_end_at_the_first_signal():
    """Only the process of the run has anything to finish."""
    run = Run(None, StyleGAN2Config(), torch.device("cpu"), {})
    run.stop_on_signals()
    ready, say = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            os.write(say, b".")  # before, Python forgets signals
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    finally:
        run.close()
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM


def test_signals_mean_what_they_did_when_a_run_is_over():
    before = [signal.getsignal(number) for number in STOPPING]
    run = Run(None, StyleGAN2Config(), torch.device("cpu"), {})
    run.stop_on_signals()
    assert all(signal.getsignal(number) == run._on_signal for number in STOPPING)
    run.close()
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_signals_mean_what_they_did_when_the_report_cannot_be_ended():
    before = [signal.getsignal(number) for number in STOPPING]
    run = Run(None, StyleGAN2Config(), torch.device("cpu"), {})
    run.stop_on_signals()
    run.report.close = lambda: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        run.close()
    assert [signal.getsignal(number) for number in STOPPING] == before
