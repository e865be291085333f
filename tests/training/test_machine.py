"""Options that say how a machine computes: they may change when a run is resumed, and what that means is said."""

import pytest
import torch

from tests.training.runs import finish, resume, train
from tests.training.test_resume import assert_equal_networks, assert_equal_runs
from torch_utils import runs
from training import plan as plans
from training import session
from training.state import read_state

SMALLER = "smaller networks: --set generator.channel_base=8192"
LENGTH = {"pace__kimg": 0.08}  # 20 iterations: 5 of path length, 2 of R1


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"), **LENGTH)


def test_deterministic_algorithms_serve_every_phase(uninterrupted, tmp_path, monkeypatch):
    """PyTorch refuses operations that have none; on a CPU nothing else changes. Then its switches are as before."""
    enabled = []
    honest = session.fit
    monkeypatch.setattr(
        session, "fit", lambda *args: (enabled.append(torch.are_deterministic_algorithms_enabled()), honest(*args))
    )
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    folder = train(tmp_path, deterministic=True, **LENGTH)
    assert enabled == [True] and not torch.are_deterministic_algorithms_enabled()
    assert_equal_networks(uninterrupted, folder)
    assert read_state(runs.resolve(str(folder), tmp_path)).config.deterministic is True


def test_checkpointing_may_change_without_a_trace(uninterrupted, tmp_path):
    folder = train(tmp_path, stop_at=9, **LENGTH)
    plan = plans.resume(str(folder), {"checkpoint_activations": True, "deterministic": True}, tmp_path)
    assert plan.notes == () and plan.config.checkpoint_activations
    assert_equal_networks(uninterrupted, finish(plan))


@pytest.mark.parametrize("first, then, word", [(False, True, "with"), (True, False, "without")])
def test_compiling_may_change_but_not_without_a_word(tmp_path, monkeypatch, first, then, word):
    monkeypatch.setattr("training.session.compile_passes", lambda recipe: "")
    folder = train(tmp_path, stop_at=3, compile=first, **LENGTH)
    plan = plans.resume(str(folder), {"compile": then}, tmp_path)
    assert plan.notes == (f"this run goes on {word} --compile: it will not be the same to the last bit",)
    assert plan.config.compile is then


def test_on_cuda_so_may_deterministic_algorithms():
    values = {"compile": False, "cuda_graphs": False, "deterministic": False}
    notes = plans._rounded_otherwise(values, values | {"deterministic": True}, torch.device("cuda"))
    assert notes == ["this run goes on with --deterministic: it will not be the same to the last bit"]


def test_the_number_of_images_at_once_may_not(uninterrupted):
    with pytest.raises(ValueError) as error:
        plans.resume(str(uninterrupted), {"pace.batch_gpu": 2}, uninterrupted.parent)
    assert str(error.value) == (
        "--batch-gpu is 2, but this run has 4: leave the option out to resume, or start a new run without --resume"
    )


def test_compiling_and_checkpointing_do_not_go_together(tmp_path):
    with pytest.raises(ValueError) as error:
        plans.begin({"compile": True, "checkpoint_activations": True, "device": "cpu"}, tmp_path)
    assert str(error.value) == (
        "--compile is for speed, --checkpoint-activations for memory, and they do not go together: give one"
    )


@pytest.mark.parametrize(
    "batch_gpu, checkpointing, resumed, sentence",
    [
        (4, False, False, "with --batch-gpu 4: try --batch-gpu auto, or 2, or --checkpoint-activations"),
        (4, True, False, "with --batch-gpu 4: try --batch-gpu auto, or 2"),
        (4, False, True, "with --batch-gpu 4: resume with --checkpoint-activations"),
        (4, True, True, "with --batch-gpu 4: start anew, with --transfer from this run's network and --batch-gpu 2"),
        (1, False, False, f"with one image at a time: try --checkpoint-activations, or {SMALLER}"),
        (1, True, False, f"with one image at a time: try {SMALLER}"),
    ],
)
def test_out_of_memory_says_what_may_help(tmp_path, monkeypatch, batch_gpu, checkpointing, resumed, sentence):
    options = {"checkpoint_activations": checkpointing, "pace__batch_gpu": batch_gpu, **LENGTH}
    folder = train(tmp_path, stop_at=1, **options) if resumed else None

    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("training.session.fit", fail)
    with pytest.raises(ValueError) as error:
        resume(folder) if folder else train(tmp_path, **options)
    assert str(error.value) == f"out of memory {sentence}"


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_run_resumed_where_there_are_more_cores_keeps_its_threads_and_its_bits(tmp_path, monkeypatch, threads):
    """With another number of threads sums are cut elsewhere, and rounded otherwise."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads(1)
    whole = train(tmp_path / "whole", pace__kimg=0.08)
    folder = train(tmp_path / "parts", stop_at=7, pace__kimg=0.08)
    threads(2)
    plan = plans.resume(str(folder), {}, folder.parent)
    assert torch.get_num_threads() == 1
    assert plan.notes == (
        "this run goes on with 1 thread, as it began, which keeps every bit; "
        "OMP_NUM_THREADS=2 uses all 2 of this machine, which does not",
    )
    finish(plan)
    assert_equal_runs(whole, folder)


def test_a_number_of_threads_that_was_asked_for_is_noted(tmp_path, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    threads(1)
    folder = train(tmp_path, stop_at=2)
    threads(2)
    (note,) = plans.resume(str(folder), {}, tmp_path).notes
    assert note == (
        "this run had 1 thread and goes on with 2, as OMP_NUM_THREADS says: it will not be the same to the last bit"
    )
    assert torch.get_num_threads() == 2


def test_another_processor_or_pytorch_is_noted(tmp_path, monkeypatch):
    folder = train(tmp_path, stop_at=2)
    here = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "MMX")
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    notes = plans.resume(str(folder), {}, tmp_path).notes
    assert (
        f"this run had a CPU with {here} and goes on with a CPU with MMX: it will not be the same to the last bit"
        in notes
    )
    assert any("and goes on with 9.9.9: it will not be" in note for note in notes) and len(notes) == 2
