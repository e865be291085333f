"""The index beside shards: its reader wants nothing that its writer leaves out, and believes no stranger."""

import json
import os
from typing import Any

import pytest

from imaging.conversion import ConversionOptions, convert
from imaging.dataset import DataConfig, open_dataset
from imaging.shards.index import Index
from imaging.shards.table import Row
from tests.imaging.pictures import picture, write_folder
from tests.imaging.shards.tars import write_shards
from tests.imaging.shards.test_writer import write


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


@pytest.mark.parametrize("labels", [None, {0: 1, 7: 2}])
@pytest.mark.parametrize("class_names", [None, ("cat", "é \x1b[2J", "")])
@pytest.mark.parametrize("more", [{}, {"sources": ["a"], "nothing": None}])
def test_an_index_is_read_as_it_was_written(labels, class_names, more):
    values = {"bytes": 10240, "samples": 3, "digest": "d", "labels": labels, "sizes": {"96x64": 3}, "modes": {"RGB": 3}}
    rows = tuple(Row(name=name, **values) for name in ("x-0.tar", "é\\udce9.tar"))
    index = Index(class_names=class_names, shards=rows, **more)
    again = Index.model_validate_json(index.to_json())
    assert again.shards == rows and again.class_names == class_names
    assert {name: value for name, value in more.items() if value is not None}.items() <= again.model_extra.items()


@pytest.mark.parametrize("labels", ["none", "folders"])
@pytest.mark.parametrize("dest", ["x-%d.tar", "x-{0..3}.tar", "x.tar"])
def test_the_index_of_every_writer_is_read(tmp_path, monkeypatch, labels, dest):
    folder = write_folder(tmp_path / "in", {f"{'ab'[i % 2]}/{i}.png": picture(seed=i) for i in range(9)})
    convert(folder, tmp_path / "tool" / dest, ConversionOptions((16, 16), labels=labels), workers=1)
    write(tmp_path / "writer" / dest, 9, label=lambda i: None if labels == "none" else i % 2)
    monkeypatch.setattr("imaging.shards.index.row_of", None)  # not needed
    for made in ("tool", "writer"):
        dataset = opened(tmp_path / made / "x*.tar")
        assert len(dataset) == 9 and dataset.notes == () and dataset.classes == (0 if labels == "none" else 2)


HOSTILE: dict[str, dict[str, Any]] = {
    "samples": {"samples": 2**70},
    "negative": {"samples": -1},
    "bytes": {"bytes": 2**70},
    "sum": {"samples": 6},
    "size": {"sizes": {"\x1b[2J": 7}},
    "class": {"labels": {str(2**70): 7}},
    "mode": {"modes": {"CMYK": 7}},
    "number": {"samples": 10**4000},
    "infinity": {"samples": float("inf")},
    "text": {"samples": "\x1b[2J"},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_index_is_passed_over_in_a_sentence(tmp_path, case):
    write(tmp_path / "x-%d.tar", shard_size=7)
    path = tmp_path / "x-index.json"
    honest = opened(tmp_path / "x-*.tar").fingerprint
    index = json.loads(path.read_bytes())
    index["shards"][0] |= HOSTILE[case]
    path.write_text(json.dumps(index))
    dataset = opened(tmp_path / "x-*.tar")
    (note,) = dataset.notes
    assert note.startswith("x-index.json is ignored: not an index of shards (")
    assert note.isprintable() and len(note) < 300 and dataset.fingerprint == honest


def test_an_index_too_large_and_one_that_is_a_pipe(tmp_path, monkeypatch):
    write(tmp_path / "x-%d.tar", shard_size=7)
    with monkeypatch.context() as patched:
        patched.setattr("imaging.shards.index.LARGEST_INDEX", 100)
        assert opened(tmp_path / "x-*.tar").notes == ("x-index.json is ignored: it has more than 100 bytes",)
    (tmp_path / "x-index.json").unlink()
    os.mkfifo(tmp_path / "x-index.json")
    assert opened(tmp_path / "x-*.tar").notes == (
        f"x-index.json is ignored: {tmp_path}/x-index.json is not a file, and shards are .tar files: correct the "
        f"pattern",
    )


@pytest.mark.parametrize(
    "lie", [{"samples": 8, "sizes": {"16x16": 8}, "modes": {"RGB": 8}, "labels": {"0": 8}}, {"labels": {"0": 7}}]
)
def test_an_index_that_lies_about_a_shard_is_noticed_when_it_is_opened(tmp_path, lie):
    write(tmp_path / "x-%d.tar", shard_size=7)
    opened(tmp_path / "x-*.tar")[0]  # its table is kept
    index = json.loads((tmp_path / "x-index.json").read_bytes())
    index["shards"][0] |= lie
    (tmp_path / "x-index.json").write_text(json.dumps(index))
    dataset = opened(tmp_path / "x-*.tar")
    with pytest.raises(ValueError, match=r"x-0\.tar has changed since its contents were listed"):
        dataset[0]


def test_shards_that_the_index_lists_and_that_are_not_there(tmp_path):
    write(tmp_path / "x-%d.tar", shard_size=4)
    for number in (1, 3):
        (tmp_path / f"x-{number}.tar").rename(tmp_path / f"away-{number}")
    for pattern in ("x-*.tar", "x-?.tar"):
        with pytest.raises(ValueError) as error:
            opened(tmp_path / pattern)
        assert str(error.value) == (
            "x-1.tar is missing (2 of the 5 shards that x-index.json lists are): restore it, or repeat the command "
            "that wrote the shards; to use a part of the set, name its shards, as in x-{0000..0007}.tar"
        )
    assert len(opened(tmp_path / "x-{0,2}.tar")) == 8, "a part that was named is a part that was meant"
    assert len(opened(tmp_path / "x-[24].tar")) == 8


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_kept_tables_that_are_damaged_are_made_anew(tmp_path, damage):
    pattern = write_shards(tmp_path / "set", [5])
    labels = [opened(pattern)[i][1] for i in range(5)]
    (kept,) = (tmp_path / "cache").glob("*.labeled")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-24] + (bytes(24) if damage == "changed" else b""))
    again = opened(pattern)
    assert [again[i][1] for i in range(5)] == labels and kept.read_bytes() == whole
