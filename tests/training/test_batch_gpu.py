"""--batch-gpu auto: the most images at once that fit into memory."""

import os
import re
import signal
from typing import Any

import pytest
import torch

from tests.commands import refused, run, tiny_sets
from tests.training.runs import tiny
from torch_utils.device import is_out_of_memory
from training import batch_gpu
from training import plan as plans
from training.footprint import footprint
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.presets import by_batch_gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
DATA = {"height": 16, "width": 16, "channels": 3, "classes": 0}


def configs(batch=12, **given) -> list[StyleGAN2Config]:
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
    """Stands in for a CUDA device that has room for so many images at once.

    Its memory is counted: a step takes a part for each image, and what a failed step leaves is not free before
    `empty_cache`. Tests say with which error of the real ones a step fails.
    """

    TOTAL = 2**34

    def __init__(self, monkeypatch, room: int, error: BaseException | None = None, left: float = 0.02) -> None:
        self.tried: list[int] = []
        self.room, self.error, self.left = room, error or torch.OutOfMemoryError("CUDA out of memory"), left
        self.held = self.reserved = 0
        monkeypatch.setattr(batch_gpu, "available_memory", lambda device: self.TOTAL // 2)
        monkeypatch.setattr(batch_gpu, "rehearse", self.rehearse)
        monkeypatch.setattr(batch_gpu, "elsewhere", lambda function, *arguments: function(*arguments))
        monkeypatch.setattr(batch_gpu.torch, "empty", self.empty)
        for name in ("mem_get_info", "synchronize", "empty_cache"):
            monkeypatch.setattr(batch_gpu.torch.cuda, name, getattr(self, name))

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        assert device == CUDA
        return self.TOTAL - self.held, self.TOTAL

    def empty(self, size: int, dtype: torch.dtype, device: torch.device) -> object:
        assert device == CUDA and dtype == torch.uint8
        assert self.held == 0, "the memory of the attempt before is free again"
        self.reserved = self.held = size
        return object()

    def synchronize(self, device: torch.device) -> None:
        assert device == CUDA

    def empty_cache(self) -> None:
        self.held = 0

    def rehearse(self, config: StyleGAN2Config, share: int, device: torch.device) -> None:
        assert self.reserved == int(batch_gpu.RESERVE * self.TOTAL) and device == CUDA and share == 12
        assert torch.backends.cudnn.benchmark, "as the run itself computes"
        self.tried.append(config.pace.batch_gpu)
        if config.pace.batch_gpu > self.room:
            self.held = int(self.TOTAL * (1 - self.left))
            raise self.error


def test_on_cuda_numbers_are_tried_until_one_works(monkeypatch):
    device = Device(monkeypatch, room=5)
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 4
    assert device.tried == [12, 6, 4]


# As PyTorch 1.13 to 2.13 spelled them on full devices.
NO_ROOM = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other call"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation after trying 8 plans."),
    MemoryError("std::bad_alloc"),
]
# Which say nothing of memory, and mean it where there is little left.
PERHAPS = [
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", [*NO_ROOM, *PERHAPS], ids=str)
def test_whatever_a_full_device_says_fewer_images_are_tried(monkeypatch, error):
    device = Device(monkeypatch, room=1, error=error)
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 1
    assert device.tried == [12, 6, 4, 3, 2, 1]


@pytest.mark.parametrize("error", NO_ROOM, ids=str)
def test_a_run_knows_that_memory_ran_out(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", PERHAPS, ids=str)
def test_errors_that_say_nothing_are_told_where_memory_is_left(monkeypatch, error):
    assert not is_out_of_memory(error)
    Device(monkeypatch, room=0, error=error, left=0.3)
    with pytest.raises(RuntimeError, match=str(error)[:20]):
        batch_gpu.largest(configs(), CUDA)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert triggered"), RuntimeError("mat1 and mat2 shapes differ")]
)
def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch, error):
    Device(monkeypatch, room=0, error=error)
    with pytest.raises(RuntimeError, match=str(error)):
        batch_gpu.largest(configs(), CUDA)


def in_a_process_of_its_own(candidates: list[StyleGAN2Config], parent: int, what: str) -> int:
    assert os.getpid() != parent and candidates == configs()
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "error":
        raise RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM")
    torch.backends.cudnn.benchmark = True
    return candidates[1].pace.batch_gpu


def test_trying_leaves_nothing_in_this_process():
    """cuDNN's choices of algorithms, above all. What a child is given comes over whole, and so do its errors."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        assert batch_gpu.elsewhere(in_a_process_of_its_own, configs(), os.getpid(), "well") == 6
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = before
    with pytest.raises(RuntimeError, match="CUDNN_STATUS_BAD_PARAM"):
        batch_gpu.elsewhere(in_a_process_of_its_own, configs(), os.getpid(), "error")
    with pytest.raises(ValueError, match="the process that tried it was killed: give a number of images"):
        batch_gpu.elsewhere(in_a_process_of_its_own, configs(), os.getpid(), "killed")


def test_processes_take_what_all_of_them_can(monkeypatch):
    Device(monkeypatch, room=12)
    monkeypatch.setattr(batch_gpu.distributed, "least", lambda number: min(number, 3))
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 3


def test_a_run_records_the_number_and_says_it(tmp_path):
    arguments = ["--data", "demo:16", "--outdir", str(tmp_path), "--batch-gpu", "auto", "--max-images", "40"]
    result = run(*arguments, *tiny_sets(pace__kimg=0.004, pace__batch=6))
    assert result.exit_code == 0, result.output
    assert re.search(r"--batch-gpu auto: 6 of 6 images at once, found in \d+m \d+s\n", result.output)
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
    message = "Invalid value for '--batch-gpu': got 'most', expected a whole number of at least 1 or auto"
    assert refused(run("--batch-gpu", "most")) == message
