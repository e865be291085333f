"""--batch-gpu auto: the most images at once that fit into memory."""

import os
import re
import signal
from typing import Any

import pytest
import torch

from models.family import Shape
from tests.commands import refused, run, tiny_sets
from torch_utils.device import is_out_of_memory
from training import batch_gpu
from training import plan as plans
from training.batch_gpu import footprint
from training.course import Asked
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.course import settle

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SHAPE = Shape(height=16, width=16, channels=3, classes=0)


def configs(batch=12, **given) -> list[Any]:
    small: dict[str, Any] = {f"{network}.channel_base": 128 for network in ("generator", "discriminator")}
    small |= {"generator.w_dim": 8, "generator.z_dim": 8, "precision": "fp32", "pace.batch": batch}
    small |= {"loss.path_weight": 0.0, "loss.gamma": 0.0}  # two phases are enough
    return batch_gpu.candidates(settle, Asked("auto", SHAPE, small | given))


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
    found = batch_gpu.candidates(settle, Asked("auto", SHAPE, given, world))
    assert [config.pace.batch_gpu for config in found] == numbers
    assert {config.pace.batch for config in found} == {batch}


def test_on_a_cpu_the_most_whose_tensors_have_room(monkeypatch):
    """As much is free as four images need, with what a process takes beside its tensors."""
    candidates = configs()[1:3]
    chosen = candidates[1]
    assert chosen.pace.batch_gpu == 4
    free(monkeypatch, footprint(chosen, 12, CPU)["most"] * batch_gpu.OVERHEAD + 2)
    assert batch_gpu.largest(candidates, CPU) == chosen


def test_too_little_for_one_image(monkeypatch):
    free(monkeypatch, 2**20)
    monkeypatch.setattr(batch_gpu, "footprint", lambda *arguments: {"most": 2**30})
    for checkpointing, mend in (False, "give --checkpoint-activations, or take"), (True, "take"):
        with pytest.raises(ValueError) as error:
            batch_gpu.largest(configs(4, checkpoint_activations=checkpointing), CPU)
        assert str(error.value) == (
            "--batch-gpu auto: 0.0 GiB are free on cpu, too little for 1 image at once: "
            f"{mend} smaller networks (--preset small) or smaller pictures"
        )


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
    """Stands in for a CUDA device that has room for so many images at once, and is nearly full after a failure."""

    TOTAL = 2**34

    def __init__(self, monkeypatch, room: int, error: BaseException | None = None, left: float = 0.02) -> None:
        self.tried: list[int] = []
        self.room, self.error, self.left = room, error or torch.OutOfMemoryError("CUDA out of memory"), left
        self.held = 0
        monkeypatch.setattr(batch_gpu, "available_memory", lambda device: self.TOTAL // 2)
        monkeypatch.setattr(batch_gpu, "rehearse", self.rehearse)
        monkeypatch.setattr(batch_gpu.gc, "collect", lambda: None)  # slow
        monkeypatch.setattr(batch_gpu, "elsewhere", lambda function, *arguments: function(*arguments))
        monkeypatch.setattr(batch_gpu.torch, "empty", lambda size, **where: self.hold(size))
        monkeypatch.setattr(batch_gpu.torch.cuda, "mem_get_info", lambda device: (self.TOTAL - self.held, self.TOTAL))
        monkeypatch.setattr(batch_gpu.torch.cuda, "synchronize", lambda device: None)
        monkeypatch.setattr(batch_gpu.torch.cuda, "empty_cache", lambda: self.hold(0))

    def hold(self, size: int) -> None:
        assert not (size and self.held), "the memory of the attempt before is free again"
        self.held = size

    def rehearse(self, config: StyleGAN2Config, share: int, device: torch.device) -> None:
        assert self.held == int(batch_gpu.RESERVE * self.TOTAL) and share == 12
        assert torch.backends.cudnn.benchmark, "as the run itself computes"
        self.tried.append(config.pace.batch_gpu)
        if config.pace.batch_gpu > self.room:
            self.held = int(self.TOTAL * (1 - self.left))
            raise self.error


def test_on_cuda_numbers_are_tried_until_one_works(monkeypatch):
    device = Device(monkeypatch, room=5)
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 4
    assert device.tried == [12, 6, 4]


# As PyTorch 1.13 to 2.13 spell them on full devices.
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
# These do not mention memory, but mean it if little is left.
PERHAPS = [
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
]
OTHERS = [RuntimeError("CUDA error: device-side assert triggered"), RuntimeError("mat1 and mat2 shapes differ")]


def test_errors_of_full_devices_are_known():
    assert all(map(is_out_of_memory, NO_ROOM)) and not any(map(is_out_of_memory, PERHAPS + OTHERS))


@pytest.mark.parametrize("error", [NO_ROOM[-1], PERHAPS[0], PERHAPS[3]], ids=str)
def test_whatever_a_full_device_says_fewer_images_are_tried(monkeypatch, error):
    device = Device(monkeypatch, room=1, error=error)
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 1
    assert device.tried == [12, 6, 4, 3, 2, 1]


@pytest.mark.parametrize(("error", "left"), [(PERHAPS[0], 0.3), *((error, 0.02) for error in OTHERS)])
def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch, error, left):
    Device(monkeypatch, room=0, error=error, left=left)
    with pytest.raises(RuntimeError, match=str(error)[:20]):
        batch_gpu.largest(configs(), CUDA)


def in_a_process_of_its_own(candidates: list[StyleGAN2Config], parent: int, what: str) -> int:
    assert os.getpid() != parent and candidates == configs()
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    torch.backends.cudnn.benchmark = True
    return candidates[1].pace.batch_gpu


def test_trying_leaves_nothing_in_this_process():
    """cuDNN's choices of algorithms, above all. What a child is given comes over whole."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        assert batch_gpu.elsewhere(in_a_process_of_its_own, configs(), os.getpid(), "well") == 6
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = before
    with pytest.raises(ValueError, match="the process that tried it was killed: give a number of images"):
        batch_gpu.elsewhere(in_a_process_of_its_own, configs(), os.getpid(), "killed")


def test_processes_take_what_all_of_them_can(monkeypatch):
    Device(monkeypatch, room=12)
    monkeypatch.setattr(batch_gpu.distributed, "least", lambda number: min(number, 3))
    assert batch_gpu.largest(configs(), CUDA).pace.batch_gpu == 3


def test_a_run_records_the_number_says_it_and_leaves_random_states_alone(tmp_path):
    before = torch.random.get_rng_state()
    arguments = ["--data", "demo:16", "--outdir", str(tmp_path), "--batch-gpu", "auto", "--max-images", "40"]
    result = run(*arguments, *tiny_sets(pace__kimg=0.004, pace__batch=6, metrics="none"))
    assert result.exit_code == 0, result.output
    assert torch.equal(before, torch.random.get_rng_state())
    assert re.search(r"--batch-gpu auto: 6 of 6 images at once, found in \d+m \d+s\n", result.output)
    (folder,) = tmp_path.iterdir()
    again = plans.resume(str(folder), {"pace.batch_gpu": "auto"}, tmp_path)  # keeps the number, and decides nothing
    assert again.config.pace.batch_gpu == 6


def test_other_words_are_refused():
    message = "Invalid value for '--batch-gpu': got 'most': input should be a valid integer"
    assert refused(run("--batch-gpu", "most")).startswith(message)
