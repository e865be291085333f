import tarfile

import numpy as np
import pytest

from imaging.dataset import DataConfig, open_dataset
from imaging.setwriter import ShardWriter
from imaging.shards.index import Index
from tests.imaging.pictures import picture


def write(dest, count=20, label=lambda i: i % 3, names=None, **options):
    with ShardWriter(dest, **options) as writer:
        for i in range(count):
            assert writer.add(picture(seed=i), label(i)) == f"{i:08d}.png"
        if names:
            writer.about["class_names"] = names


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


def contents(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def test_numbered_shards_are_filled_one_after_another(tmp_path):
    write(tmp_path / "x-%06d.tar", shard_size=8)
    assert files(tmp_path) == ["x-000000.tar", "x-000001.tar", "x-000002.tar", "x-index.json"]
    assert contents(tmp_path / "x-000002.tar") == [f"{i:08d}.{kind}" for i in range(16, 20) for kind in ("cls", "png")]
    dataset = opened(tmp_path / "x-{000000..000002}.tar")
    assert [dataset[i][1] for i in range(20)] == [i % 3 for i in range(20)]
    assert all(np.array_equal(dataset[i][0], np.asarray(picture(seed=i)).transpose(2, 0, 1)) for i in range(20))


def test_to_a_fixed_number_of_shards_pictures_are_dealt_in_turn(tmp_path):
    write(tmp_path / "x-{0..2}.tar", label=lambda i: None)
    assert [len(contents(tmp_path / f"x-{i}.tar")) for i in range(3)] == [7, 7, 6]
    assert contents(tmp_path / "x-1.tar")[:2] == ["00000001.png", "00000004.png"]
    assert opened(tmp_path / "x-*.tar").classes == 0


def test_a_single_shard_and_names_of_classes(tmp_path):
    write(tmp_path / "faces.tar", names=("cat", "dog", "cow", "bee"))
    dataset = opened(tmp_path / "faces.tar")
    assert dataset.class_names == ("cat", "dog", "cow", "bee") and dataset.label_counts.tolist() == [7, 7, 6, 0]
    assert dataset.labels_note == "labels from the shards: 4 classes, 1 of them without images"


def test_the_index_says_what_reading_the_shards_would_say(tmp_path, monkeypatch):
    write(tmp_path / "x-%d.tar", shard_size=6)
    with monkeypatch.context() as patch:
        patch.setattr("imaging.shards.index.row_of", None)  # not needed
        known = opened(tmp_path / "x-*.tar", mirror=True)
    index = Index.model_validate_json((tmp_path / "x-index.json").read_bytes())
    (tmp_path / "x-index.json").unlink()
    found = opened(tmp_path / "x-*.tar", mirror=True)
    assert list(index.shards) == known.rows == found.rows
    assert known.fingerprint == found.fingerprint
    monkeypatch.setattr("imaging.shards.table.read_table", None)  # what was found was kept
    assert opened(tmp_path / "x-*.tar", mirror=True).fingerprint == known.fingerprint


def test_a_large_set_is_read_by_several_processes(tmp_path, monkeypatch):
    write(tmp_path / "x-%d.tar", shard_size=6)
    known = opened(tmp_path / "x-*.tar").fingerprint
    (tmp_path / "x-index.json").unlink()
    monkeypatch.setattr("imaging.shards.index.WORTH_PROCESSES", 0)
    assert opened(tmp_path / "x-*.tar").fingerprint == known
    (tmp_path / "x-2.tar").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x-2\.tar is not a whole tar file"):
        opened(tmp_path / "x-*.tar")


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"{", "x-index.json is ignored: not an index of shards (Invalid JSON"),
        (b'{"shards": 3}', "x-index.json is ignored: not an index of shards ("),
        (
            b'{"format": "shards 9", "shards": []}',
            "x-index.json is ignored: not an index of shards (",
        ),
        (b'{"shards": []}', "x-index.json is ignored: it does not fit the shards"),
    ],
)
def test_an_index_of_no_use_is_passed_over(tmp_path, content, note):
    write(tmp_path / "x-%d.tar")
    fingerprint = opened(tmp_path / "x-0.tar").fingerprint
    (tmp_path / "x-index.json").write_bytes(content)
    dataset = opened(tmp_path / "x-0.tar")
    assert dataset.notes[0].startswith(note) and "\n" not in dataset.notes[0]
    assert dataset.fingerprint == fingerprint


def test_a_shard_that_the_index_does_not_describe(tmp_path):
    """As many bytes, other pictures: it is noticed when the shard is opened."""
    write(tmp_path / "x-%d.tar", shard_size=10)
    write(tmp_path / "other.tar", count=10, label=lambda i: 0)
    (tmp_path / "x-1.tar").write_bytes((tmp_path / "other.tar").read_bytes())
    dataset = opened(tmp_path / "x-*.tar")
    assert dataset[9][1] == 0
    with pytest.raises(ValueError, match=r"x-1\.tar has changed since its contents were listed: "):
        dataset[10]


def test_equal_input_gives_equal_files(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "x-%d.tar", shard_size=6)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_webdataset_reads_them(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    write(tmp_path / "x-{0..1}.tar")
    samples = list(webdataset.WebDataset(str(tmp_path / "x-{0..1}.tar"), shardshuffle=False).decode("pil"))
    assert sorted(sample["__key__"] for sample in samples) == [f"{i:08d}" for i in range(20)]
    for sample in samples:
        i = int(sample["__key__"])
        assert sample["cls"] == i % 3 and np.array_equal(np.asarray(sample["png"]), np.asarray(picture(seed=i)))


def test_nothing_is_left_of_what_was_not_finished(tmp_path):
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path / "x-%d.tar") as writer:
        writer.add(picture())
        raise ZeroDivisionError
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("dest", "options", "count", "sentence"),
    [
        ("x-%d.tar", {}, 0, "x-%d.tar would hold no images, and was not written"),
        ("x-{0..9}.tar", {}, 5, "x-{0..9}.tar would hold 5 images, fewer than the 10 shards, and was not written"),
        ("x.tar", {"label": lambda i: None if i else 1}, 5, "only 1 of the 5 images for x.tar have a label"),
        ("x.tar", {"shard_size": 9}, 5, "x.tar does not name shards: write x-%06d.tar, which --shard-size applies to"),
        ("x-%d-%d.tar", {}, 5, "x-%d-%d.tar does not name shards: write x-%06d.tar"),
        ("x-%s.tar", {}, 5, "x-%s.tar does not name shards"),
        ("x-{0..10000}.tar", {}, 5, "does not name shards"),
        ("s3://b/x-%d.tar", {}, 5, "s3://b/x-%d.tar does not name shards"),
        ("x-%d.zip", {}, 5, "x-%d.zip does not name shards"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, dest, options, count, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        write(dest, count, **options)
    assert sentence in str(error.value) and files(tmp_path) == []
