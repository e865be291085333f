"""--batch-gpu auto: the most images at once that fit into memory."""

import contextlib
from typing import Any

import pytest
import torch

from tests.commands import refused, run, tiny_sets
from tests.training.runs import tiny
from training import batch_gpu
from training import plan as plans
from training.config import TrainConfig
from training.footprint import footprint
from training.presets import by_batch_gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
DATA = {"height": 16, "width": 16, "channels": 3, "classes": 0}


def configs(batch=12, **given) -> list[TrainConfig]:
    small: dict[str, Any] = {f"{network}.channel_base": 128 for network in ("generator", "discriminator")}
    small |= {"generator.w_dim": 8, "generator.z_dim": 8, "precision": "fp32", "pace.batch": batch}
    return by_batch_gpu("auto", DATA, small | given, 1)


def free(monkeypatch, memory: float) -> None:
    monkeypatch.setattr(batch_gpu, "available_memory", lambda device: int(memory))


@pytest.mark.parametrize(
    "batch, world, group, numbers",
    [
        (12, 1, None, [12, 6, 4, 3, 2, 1]),
        (12, 2, None, [6, 3, 2, 1]),
        (12, 1, 4, [12, 4, 3, 2, 1]),  # of 6 images a group of 4 leaves 2
        (7, 1, None, [7, 1]),
    ],
)
def test_numbers_that_come_into_question(batch, world, group, numbers):
    given = {"pace.batch": batch, "precision": "fp32"} | ({} if group is None else {"discriminator.mbstd_group": group})
    found = by_batch_gpu("auto", DATA, given, world)
    assert [config.pace.batch_gpu for config in found] == numbers
    assert {config.pace.batch for config in found} == {batch}


def test_on_a_cpu_the_most_whose_tensors_have_room(monkeypatch):
    """As much is free as four images need, with what a process takes beside its tensors."""
    candidates = configs()
    chosen = next(config for config in candidates if config.pace.batch_gpu == 4)
    free(monkeypatch, footprint(chosen, 12, CPU).peak * batch_gpu.OVERHEAD + 2)
    assert batch_gpu.largest(candidates, CPU) == chosen


def test_too_little_for_one_image(monkeypatch):
    free(monkeypatch, 2**20)
    with pytest.raises(ValueError) as error:
        batch_gpu.largest(configs(4), CPU)
    assert str(error.value) == (
        "--batch-gpu auto: 0.0 GiB are free on cpu, too little for 1 image at once: give --checkpoint-activations, or "
        "take smaller networks: --set generator.channel_base=8192"
    )
    with pytest.raises(ValueError, match="too little for 1 image at once: take smaller networks"):
        batch_gpu.largest(configs(4, checkpoint_activations=True), CPU)


def test_a_system_that_does_not_tell(monkeypatch):
    def silent(device):
        raise ValueError("this system does not tell how much memory is free")

    monkeypatch.setattr(batch_gpu, "available_memory", silent)
    with pytest.raises(ValueError) as error:
        batch_gpu.largest(configs(), CPU)
    assert str(error.value) == (
        "--batch-gpu auto: this system does not tell how much memory is free: give a number of images"
    )


class Device:
    """Stands in for a CUDA device that has room for so many images at once."""

    def __init__(self, monkeypatch, room: int, error: Exception | None = None) -> None:
        self.tried: list[int] = []
        self.room, self.error = room, error or torch.OutOfMemoryError("CUDA out of memory")
        free(monkeypatch, 2**33)
        monkeypatch.setattr(batch_gpu, "rehearse", self.rehearse)
        monkeypatch.setattr(batch_gpu.torch.cuda, "mem_get_info", lambda device: (2**33, 2**34))
        monkeypatch.setattr(batch_gpu.torch, "empty", lambda *a, **k: None)
        monkeypatch.setattr(batch_gpu.torch.random, "fork_rng", lambda devices: contextlib.nullcontext())
        for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(batch_gpu.torch.cuda, name, lambda *a: None)

    def rehearse(self, config: TrainConfig, share: int, device: torch.device) -> None:
        self.tried.append(config.pace.batch_gpu)
        if config.pace.batch_gpu > self.room:
            raise self.error


def test_on_cuda_numbers_are_tried_until_one_works(monkeypatch):
    device = Device(monkeypatch, room=5)
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 4
    assert device.tried == [12, 6, 4]


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch):
    Device(monkeypatch, room=0, error=RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        batch_gpu.largest(configs(), CUDA)


def test_processes_take_what_all_of_them_can(monkeypatch):
    Device(monkeypatch, room=12)
    monkeypatch.setattr(batch_gpu.distributed, "least", lambda number: min(number, 3))
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 3


def test_a_run_records_the_number_and_says_it(tmp_path):
    arguments = ["--data", "demo:16", "--outdir", str(tmp_path), "--batch-gpu", "auto", "--max-images", "40"]
    result = run(*arguments, *tiny_sets(pace__kimg=0.004, pace__batch=6))
    assert result.exit_code == 0, result.output
    assert "--batch-gpu auto: 6 of 6 images at once" in result.output
    (folder,) = tmp_path.iterdir()
    again = plans.resume(str(folder), {"pace.batch_gpu": "auto"}, tmp_path)  # keeps the number, and decides nothing
    assert again.config.pace.batch_gpu == 6


def test_it_leaves_random_states_alone(tmp_path):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    plan = plans.begin(tiny(pace__batch_gpu="auto"), tmp_path)
    assert plan.config.pace.batch_gpu == 4
    assert torch.equal(before, torch.random.get_rng_state())


def test_other_words_are_refused():
    message = "Invalid value for '--batch-gpu': got 'most', wanted a whole number of at least 1 or auto"
    assert refused(run("--batch-gpu", "most")) == message
