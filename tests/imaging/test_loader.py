import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from imaging.dataset import DataConfig, open_dataset
from imaging.demo import DemoSet
from imaging.imageset import index_at
from imaging.loader import batches, default_workers
from tests.imaging.pictures import index, picture, write_folder, write_zip


@pytest.fixture
def archive(tmp_path):
    names = [f"{i}.png" for i in range(7)]
    files = {name: picture(seed=i) for i, name in enumerate(names)}
    labels = [[name, i % 3] for i, name in enumerate(names)]
    return open_dataset(DataConfig(path=str(write_zip(tmp_path / "a.zip", files | {"dataset.json": index(labels)}))))


def first(steps, *arguments, **options):
    stream = batches(*arguments, **options)
    return [next(stream) for _ in range(steps)]


def same(a, b):
    return all(torch.equal(p, q) and torch.equal(c, d) for (p, c), (q, d) in zip(a, b, strict=True))


def test_batches_hold_the_pictures_of_the_endless_shuffle(archive):
    pixels, labels = first(1, archive, 4, 9)[0]
    assert pixels.shape == (4, 3, 16, 16) and pixels.dtype == torch.uint8
    assert labels.shape == (4,) and labels.dtype == torch.int64
    for k in range(4):
        expected, label = archive[index_at(9, k, 7)]
        assert np.array_equal(pixels[k].numpy(), expected) and labels[k] == label


@pytest.mark.parametrize("workers", [1, 2])
def test_the_sequence_does_not_depend_on_the_workers(archive, workers):
    next(batches(archive, 4, 9))  # the parent's file is open already when the workers fork
    assert same(first(12, archive, 4, 9), first(12, archive, 4, 9, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_batches_are_the_same_batches(archive, monkeypatch, workers):
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.Tensor.pin_memory", torch.Tensor.clone)
    assert same(first(12, archive, 4, 9, workers=workers, pin=True), first(12, archive, 4, 9))


def test_closing_stops_the_workers(archive):
    stream = batches(archive, 4, 9, workers=2)
    next(stream)
    assert len(multiprocessing.active_children()) == 2
    stream.close()
    assert not multiprocessing.active_children()


def test_ranks_and_positions(archive):
    whole = first(6, archive, 4, 9)
    halves = [first(6, archive, 4, 9, rank=rank, world=2) for rank in range(2)]
    for (pixels, labels), (p0, c0), (p1, c1) in zip(whole, *halves, strict=True):
        assert torch.equal(torch.cat([p0, p1]), pixels) and torch.equal(torch.cat([c0, c1]), labels)
    assert same(whole[2:], first(4, archive, 4, 9, position=8))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_raises_one_sentence_wherever_it_is_met(tmp_path, workers):
    good = write_folder(tmp_path / "set", {f"{i}.png": picture(seed=i) for i in range(4)})
    dataset = open_dataset(DataConfig(path=str(good)))
    broken = good / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(ValueError) as error:
        first(3, dataset, 4, 0, workers=workers)
    message = str(error.value)
    assert message.startswith(f"2.png in {good} cannot be decoded: ") and "\n" not in message


def test_a_picture_that_vanished(tmp_path):
    good = write_folder(tmp_path / "set", {f"{i}.png": picture(seed=i) for i in range(4)})
    dataset = open_dataset(DataConfig(path=str(good)))
    (good / "2.png").unlink()
    with pytest.raises(ValueError) as error:
        first(1, dataset, 4, 0)
    assert str(error.value) == f"2.png in {good} cannot be read: No such file or directory; restore it"


def test_the_global_random_stream_is_left_alone(archive):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first(2, archive, 4, 9, workers=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (3, 3), (4, 4), (64, 4)])
def test_default_workers_are_as_many_as_the_cores_up_to_four(archive, monkeypatch, cores, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert default_workers(archive) == workers
    assert default_workers(archive, on_cpu=True) == default_workers(DemoSet(16, 16, count=5)) == 0


KILLED = (
    "a process that reads images was killed, probably out of memory: try a smaller --workers. In a container shared "
    "memory may be too small (64 MB of /dev/shm by default): start it with --shm-size=8g or --ipc=host, or use "
    "--workers 0"
)


def test_a_worker_that_is_killed_ends_the_run(archive):
    stream = batches(archive, 4, 9, workers=2)
    next(stream)
    multiprocessing.active_children()[0].kill()
    with pytest.raises(ValueError) as error:
        for _ in range(100_000):
            next(stream)
    assert str(error.value) == KILLED
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("closed", [True, False])
def test_workers_that_wait_for_ever_are_killed(archive, closed):
    stream = batches(archive, 4, 9, workers=2)
    next(stream)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGSTOP)
    if closed:
        stream.close()
    else:
        del stream
    assert not multiprocessing.active_children()
