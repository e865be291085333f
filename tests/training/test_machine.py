"""What depends on a machine: it may change when a run is resumed, and the run says what that means."""

import pytest
import torch

from tests.training.runs import finish, resume, train
from tests.training.test_resume import assert_equal_networks, assert_equal_runs
from torch_utils import runs
from training import plan as plans
from training import session
from training.state import read_state, rounding_notes
from training.stylegan2.config import StyleGAN2Config

SMALLER = "smaller networks (--preset small) or smaller pictures"
INEXACT = "the run will not be the same to the last bit"
LENGTH = {"pace__kimg": 0.08, "metrics": "none"}  # 20 iterations: 5 of path length, 2 of R1


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in one thread, as all here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = train(tmp_path_factory.mktemp("whole"), **LENGTH)
    torch.set_num_threads(before)
    return folder


def stopped(tmp_path, **options):
    torch.set_num_threads(1)
    return train(tmp_path, stop_at=7, **LENGTH, **options)


def test_options_of_the_machine_leave_no_trace_on_a_cpu(whole, tmp_path, monkeypatch, threads):
    """Activations are recomputed, algorithms are deterministic, and PyTorch's switches are as before."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    folder, enabled, honest = stopped(tmp_path), [], session.fit
    monkeypatch.setattr(
        session, "fit", lambda *args: (enabled.append(torch.are_deterministic_algorithms_enabled()), honest(*args))
    )
    plan = plans.resume(str(folder), {"checkpoint_activations": True, "deterministic": True}, tmp_path)
    assert plan.notes == () and plan.config.checkpoint_activations
    assert_equal_networks(whole, finish(plan))
    assert enabled == [True] and not torch.are_deterministic_algorithms_enabled()
    assert read_state(runs.resolve(str(folder), tmp_path)).config.deterministic is True


def test_a_run_keeps_its_threads_and_its_bits_and_says_what_changed(whole, tmp_path, monkeypatch, threads):
    """With another number of threads sums are cut elsewhere, and rounded differently."""
    folder = stopped(tmp_path)
    here = torch.backends.cpu.get_cpu_capability()
    threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (note,) = plans.resume(str(folder), {}, tmp_path).notes
    assert note == f"threads: 1 before, 2 now: {INEXACT}"
    monkeypatch.delenv("OMP_NUM_THREADS")
    plan = plans.resume(str(folder), {}, tmp_path)
    assert torch.get_num_threads() == 1 and plan.notes == ()
    with monkeypatch.context() as other:
        other.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "MMX")
        other.setattr(torch, "__version__", "9.9.9")
        processor, version = plans.resume(str(folder), {}, tmp_path).notes
    assert processor == f"processor: a CPU with {here} before, a CPU with MMX now: {INEXACT}"
    assert version == f"PyTorch: {torch.__version__} before, 9.9.9 now: {INEXACT}"
    assert_equal_runs(whole, finish(plan))


@pytest.mark.parametrize(
    ("device", "old", "new", "notes"),
    [
        ("cpu", {}, {"compile": True}, ["--compile"]),
        ("cpu", {}, {"deterministic": True}, []),
        (
            "cuda",
            {},
            {"deterministic": True, "cuda_graphs": True},
            ["--cuda-graphs", "--deterministic"],
        ),
    ],
)
def test_settings_that_round_differently_are_noted(whole, monkeypatch, device, old, new, notes):
    facts = read_state(runs.resolve(str(whole), whole)).facts
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    settings = [{"compile": False, "cuda_graphs": False, "deterministic": False, **values} for values in (old, new)]
    facts = facts.model_copy(update={"processor": None, "threads": None})
    found = rounding_notes(facts, *settings, torch.device(device), StyleGAN2Config)
    assert [note for note in found if "--" in note] == [f"{name}: false before, true now: {INEXACT}" for name in notes]


@pytest.mark.parametrize("resumed", [True, False])
def test_out_of_memory_says_what_may_help(whole, tmp_path, monkeypatch, resumed):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("training.session.fit", fail)
    with pytest.raises(ValueError) as error:
        resume(whole) if resumed else train(tmp_path, **LENGTH)
    ways = "" if resumed else f"--batch-gpu auto, or a smaller --batch-gpu, or {SMALLER}, or "
    assert str(error.value) == f"out of memory with --batch-gpu 4: try {ways}--checkpoint-activations"
