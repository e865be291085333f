import multiprocessing
import os
import shutil
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import _permutation
from imaging.loader import batches
from imaging.shards.index import Index
from imaging.shards.shardset import ShardSet, draw_shards
from imaging.shards.store import Shard
from imaging.shards.table import Row
from tests.imaging.pictures import encoded, picture
from tests.imaging.shards.tars import write_shards, write_tar
from tests.imaging.test_loader import first, same

COUNTS = [5, 2, 9, 4]


@pytest.fixture
def pattern(tmp_path):
    return write_shards(tmp_path / "set", COUNTS)


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


def failure(path, kind=ValueError, **options):
    with pytest.raises(kind) as error:
        opened(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_set_of_shards(pattern):
    dataset = opened(pattern)
    assert isinstance(dataset, ShardSet) and dataset.name == "x"
    assert (dataset.height, dataset.width, dataset.channels, len(dataset)) == (16, 16, 3, 20)
    assert dataset.classes == 3 and dataset.class_names == ("0", "1", "2") and dataset.notes == ()
    assert dataset.label_counts.tolist() == [7, 7, 6] and dataset.label_counts.dtype == np.int64
    assert dataset.labels_note == "labels from the shards: 3 classes"
    for i in range(20):
        pixels, label = dataset[i]
        assert label == i % 3 and np.array_equal(pixels, np.asarray(picture(seed=i)).transpose(2, 0, 1))
    with pytest.raises(IndexError):
        dataset[20]


def test_labels_can_be_left_out(pattern):
    dataset = opened(pattern, labels="none")
    assert dataset.classes == 0 and dataset[7][1] == 0 and dataset.labels_note == "labels are not used"
    assert failure(pattern, labels="folders") == (
        "shards have no sub-folders: use --labels auto, which reads the class of a sample from its .cls or .json file, "
        "or --labels none"
    )


def test_unlabeled_shards(tmp_path):
    dataset = opened(write_tar(tmp_path / "x.tar", {f"{i}.png": picture(seed=i) for i in range(3)}))
    assert dataset.classes == 0 and dataset[2][1] == 0 and dataset.examples(0).tolist() == [0, 1, 2]
    assert dataset.labels_note.startswith("the set is unlabeled, since ")


def test_labels_of_some_samples_only(tmp_path):
    a = {"0.png": picture(), "0.cls": b"1"}
    write_tar(tmp_path / "x-0.tar", a)
    path = write_tar(tmp_path / "x-1.tar", a | {"1.png": picture()})
    pattern = tmp_path / "x-{0..1}.tar"
    assert failure(pattern) == f"{path} has labels for 1 of its 2 samples: label all of them, or use --labels none"
    write_tar(path, {"1.png": picture()})
    assert failure(pattern) == (
        "x-0.tar has labels but x-1.tar has none: label the samples of all shards, or use --labels none"
    )
    assert len(opened(pattern, labels="none")) == 2


def test_examples_of_a_class(pattern):
    dataset = opened(pattern)
    assert [dataset.examples(label).tolist() for label in range(4)] == [[0, 3], [1, 4], [2], []]
    assert all(dataset[int(i)][1] == label for label in range(3) for i in dataset.examples(label))


def test_a_part_of_the_set_is_always_the_same_part(pattern):
    assert draw_shards([5, 2, 9, 4], 0) == draw_shards([5, 2, 9, 4], 99) == {0: 5, 1: 2, 2: 9, 3: 4}
    drawn = [draw_shards([5, 2, 9, 4], most) for most in range(1, 20)]
    assert [sum(taken.values()) for taken in drawn] == list(range(1, 20))
    for taken, more in pairwise(drawn):
        assert all(count <= more[number] for number, count in taken.items()), "more pictures are those and others"
    dataset = opened(pattern, max_images=10)
    labels = [dataset[i][1] for i in range(10)]
    assert len(dataset) == 10 and dataset.classes == 3
    assert np.bincount(labels, minlength=3).tolist() == dataset.label_counts.tolist()
    again = opened(pattern, max_images=10)
    assert all(np.array_equal(dataset[i][0], again[i][0]) for i in range(10))
    assert again.fingerprint == dataset.fingerprint
    assert sorted(dataset.index_at(0, p) for p in range(10)) == list(range(10))


def test_equal_fingerprints_mean_equal_items(tmp_path, pattern):
    base = opened(pattern).fingerprint
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    assert opened(tmp_path / "moved" / "x-*.tar").fingerprint == base and len(base) == 64
    others = [opened(pattern, **more) for more in ({"mirror": True}, {"max_images": 10}, {"labels": "none"})]
    others.append(opened(pattern.replace("0003", "0002")))
    found = {base, *(other.fingerprint for other in others)}
    write_tar(tmp_path / "set" / "x-0001.tar", {"5.png": picture(seed=99), "5.cls": b"2", "6.png": picture(seed=6)})
    assert len({*found, opened(pattern, labels="none").fingerprint}) == 6


def test_differing_sizes_come_with_the_command_that_mends_them(tmp_path):
    write_tar(tmp_path / "x-0.tar", {f"{i}.png": picture(32, 16) for i in range(3)})
    write_tar(tmp_path / "x-1.tar", {"a.png": picture(32, 16), "b.png": picture(100, 90)})
    pattern = tmp_path / "x-{0..1}.tar"
    assert failure(pattern) == (
        f"{pattern} holds images of different sizes, mostly 32x16, but b.png in x-1.tar has 100x90: make them one "
        f"size with `python dataset_tool.py --source '{pattern}' --dest x-32x16-%06d.tar --resolution 32x16` (5 of 5 "
        f"are at least 32x16)"
    )
    dataset = opened(write_tar(tmp_path / "y.tar", {"a.png": picture(7, 5)}))
    command = f"python dataset_tool.py --source {tmp_path}/y.tar --dest y-8x8-%06d.tar --resolution 8x8"
    assert dataset[0][0].shape == (3, 5, 7) and dataset.resized(8, 8) == f"make them 8x8 with `{command}`"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_sequence_does_not_depend_on_the_workers(pattern, workers):
    dataset = opened(pattern)
    next(batches(dataset, 4, 9))  # the parent's files are open already when the workers fork
    assert same(first(12, dataset, 4, 9), first(12, dataset, 4, 9, workers=workers))


def test_a_fork_does_not_move_the_parents_place_in_a_file(pattern):
    dataset = opened(pattern)
    file = dataset._opened(2)[0]
    file.seek(0)
    before = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    child = multiprocessing.get_context("fork").Process(target=dataset.read, args=(15,))
    child.start()
    child.join()
    assert child.exitcode == 0 and os.lseek(file.fileno(), 0, os.SEEK_CUR) == before


def test_ranks_and_positions(pattern):
    dataset = opened(pattern)
    whole = first(12, dataset, 4, 9)
    halves = [first(12, dataset, 4, 9, rank=rank, world=2) for rank in range(2)]
    for (pixels, labels), (p0, c0), (p1, c1) in zip(whole, *halves, strict=True):
        assert np.array_equal(np.concatenate([p0, p1]), pixels) and np.array_equal(np.concatenate([c0, c1]), labels)
    assert same(whole[5:], first(7, opened(pattern), 4, 9, position=20))
    for k, (pixels, labels) in enumerate(whole):
        expected = [dataset[dataset.index_at(9, 4 * k + i)] for i in range(4)]
        assert np.array_equal(pixels, [p for p, _ in expected]) and labels.tolist() == [c for _, c in expected]


def test_more_shards_than_may_be_open(tmp_path):
    dataset = opened(write_shards(tmp_path / "set", [2] * 70))
    labels = [dataset[dataset.index_at(0, p)][1] for p in range(140)]
    assert np.bincount(labels).tolist() == dataset.label_counts.tolist()
    assert len(dataset._open) == 32


def read_all(dataset, workers=0):
    return first(5, dataset, 4, 0, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_named_when_it_is_read(tmp_path, workers):
    whole = encoded(picture())
    files = {"0.png": picture(), "1.png": whole[: len(whole) // 2] + bytes(len(whole) // 2)}
    dataset = opened(write_tar(tmp_path / "x.tar", files))
    with pytest.raises(ValueError) as error:
        read_all(dataset, workers)
    message = str(error.value)
    assert message.startswith(f"1.png in {tmp_path}/x.tar cannot be decoded: ") and "\n" not in message
    assert message.endswith("; copy or make the shard again, or leave it out of --data")


def test_a_shard_that_changes_or_vanishes_while_it_is_used(tmp_path, pattern):
    dataset = opened(pattern)
    write_shards(tmp_path / "other", [9])
    shutil.copy(tmp_path / "other" / "x-0000.tar", tmp_path / "set" / "x-0002.tar")  # as many bytes, other pictures
    changed = f"{tmp_path}/set/x-0002.tar has changed since its contents were listed: restore the old shard, "
    with pytest.raises(ValueError) as error:
        dataset[8]
    assert str(error.value).startswith(changed)
    (tmp_path / "set" / "x-0002.tar").unlink()
    with pytest.raises(ValueError) as error:
        dataset[8]
    assert str(error.value) == (f"{tmp_path}/set/x-0002.tar cannot be read: No such file or directory; restore it")
    assert dataset[0][1] == 0


def test_headers_are_read_once_for_all_processes(tmp_path, pattern, monkeypatch):
    first_one = opened(pattern)
    items = [first_one[i] for i in range(20)]
    with monkeypatch.context() as patch:
        patch.setattr("imaging.shards.table.read_table", None)
        again = opened(pattern)
        assert all(np.array_equal(again[i][0], items[i][0]) and again[i][1] == items[i][1] for i in range(20))
    for damage in (b"", b"\x93NUMPY\x01", b"nothing"):
        for path in (tmp_path / "cache").glob("*.labeled"):
            path.write_bytes(damage)
        again = opened(pattern)
        assert [again[i][1] for i in range(20)] == [label for _, label in items]
    (tmp_path / "set" / "x-0001.tar").touch()  # another time, the same content
    assert again[5][1] == 2


def test_memory_does_not_grow_with_the_samples(monkeypatch):
    """2,000 shards, with 3 and with 3,000 samples each, as the index says: what is held does not tell them apart."""
    shards = [Shard(f"/nowhere/x-{i:06d}.tar", 10**9, "1") for i in range(2000)]
    monkeypatch.setattr("imaging.shards.shardset.find_shards", lambda pattern: shards)

    def held(count):
        rows = [
            Row(
                name=shard.name,
                bytes=shard.bytes,
                samples=count,
                digest=f"{i:032d}",
                labels={0: count},
                sizes={"16x16": count},
                modes={"RGB": count},
            )
            for i, shard in enumerate(shards)
        ]
        index = Index(shards=tuple(rows))
        monkeypatch.setattr("imaging.shards.shardset.read_index", lambda *arguments: (index, ""))
        _permutation.cache_clear()
        tracemalloc.start()
        dataset = ShardSet("/nowhere/x-*.tar", "auto", mirror=False)
        for position in range(0, len(dataset), len(dataset) // 50):
            dataset.index_at(0, position)
        _permutation.cache_clear()  # which holds the samples of a window, and is tested with the order
        now = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return now

    held(1)
    small, large = held(3), held(3000)
    assert abs(large - small) / (2000 * 2997) < 0.01, "bytes for each further sample"
