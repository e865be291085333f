"""Parquet files for the Hub: what pyarrow reads in them, and the way there and back."""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dataset_tool
from imaging.parquetwriter import TOGETHER, ParquetWriter
from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, picture

arrow = pytest.importorskip("pyarrow.parquet")
CLASSES = ("cat", "dog", "emu")


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(dataset_tool.main, [*map(str, words), "--workers", "1"])
    assert ("Traceback" not in result.output and result.exception is None) or isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with a sub-folder for each class."""
    for i in range(7):
        folder = tmp_path / "photos" / CLASSES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        picture(seed=i).save(folder / f"{i}.png")
    return tmp_path / "photos"


def features(table) -> dict:
    return json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]


def test_pyarrow_reads_images_and_classes(photos, tmp_path):
    said = run("--source", photos, "--labels", "folders", "--dest", tmp_path / "x.parquet")
    assert f"wrote 7 RGB images of 16x16 to {tmp_path / 'x.parquet'}" in said
    table = arrow.read_table(tmp_path / "x.parquet")
    assert features(table) == {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(CLASSES)}}
    rows = table.to_pylist()
    assert [row["label"] for row in rows] == [0, 0, 0, 1, 1, 2, 2]
    for row, seed in zip(rows, (0, 3, 6, 1, 4, 2, 5), strict=True):
        assert row["image"]["path"].endswith(".png")
        assert np.array_equal(Image.open(io.BytesIO(row["image"]["bytes"])), picture(seed=seed))


def test_there_and_back_is_the_same_archive(photos, tmp_path):
    for dest, source in (("direct.zip", photos), ("x.parquet", photos), ("back.zip", tmp_path / "x.parquet")):
        labels = ["--labels", "folders"] if source is photos else []
        run("--source", source, "--dest", tmp_path / dest, *labels)
    direct, back = (zipfile.ZipFile(tmp_path / name) for name in ("direct.zip", "back.zip"))
    names = [name for name in direct.namelist() if name != "sources.csv"]  # the names in the source differ
    assert len(names) == 8 and all(direct.read(name) == back.read(name) for name in names)


def test_the_way_through_webdataset(photos, tmp_path):
    """Shards of ours, read and written again by webdataset itself, are the same set."""
    webdataset = pytest.importorskip("webdataset")
    run("--source", photos, "--labels", "folders", "--dest", tmp_path / "x-%06d.tar", "--shard-size", "4")
    run("--source", photos, "--labels", "folders", "--dest", tmp_path / "direct.zip")
    with webdataset.TarWriter(str(tmp_path / "again.tar")) as writer:
        for sample in webdataset.WebDataset(str(tmp_path / "x-{000000..000001}.tar"), shardshuffle=False):
            writer.write({key: value for key, value in sample.items() if key in ("__key__", "png", "cls")})
    run("--source", tmp_path / "again.tar", "--dest", tmp_path / "back.zip")
    direct, back = (zipfile.ZipFile(tmp_path / name) for name in ("direct.zip", "back.zip"))
    pictures = [name for name in direct.namelist() if name.endswith(".png")]
    assert len(pictures) == 7 and all(direct.read(name) == back.read(name) for name in pictures)
    labels = [json.loads(archive.read("dataset.json"))["labels"] for archive in (direct, back)]
    assert labels[0] == labels[1]


def test_without_classes_there_is_one_column(tmp_path):
    with ParquetWriter(tmp_path / "x.parquet") as writer:
        assert writer.add(picture()) == "00000000.png"
    table = arrow.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["image"] and features(table) == {"image": {"_type": "Image"}}
    assert open_source(tmp_path / "x.parquet").labels().class_names == ()


def test_rows_come_in_small_groups_and_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        with ParquetWriter(tmp_path / name) as writer:
            for i in range(TOGETHER + 1):
                writer.append(encoded(picture(seed=i)), i % 2)
    file = arrow.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [TOGETHER, 1]
    assert file.read()["label"].to_pylist() == [i % 2 for i in range(TOGETHER + 1)]
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("labels", [[0, None], [None, 0]])
def test_half_of_the_labels_and_no_images_are_refused(tmp_path, labels):
    with pytest.raises(ValueError, match="only 1 of the 2 images for"), ParquetWriter(tmp_path / "x.parquet") as writer:
        for label in labels:
            writer.add(picture(), label)
    with pytest.raises(ValueError, match="would hold no images"), ParquetWriter(tmp_path / "x.parquet"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_refusals(photos, tmp_path, monkeypatch):
    dest = tmp_path / "x.parquet"
    dest.write_bytes(b"old")
    assert f"--dest {dest} exists already: name another file, or add --overwrite" in run(
        "--source", photos, "--dest", dest
    )
    assert "--shard-size needs a shard pattern" in run(
        "--source", photos, "--dest", dest, "--overwrite", "--shard-size", "3"
    )
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    said = run("--source", photos, "--dest", dest, "--overwrite")
    assert "Error: writing parquet files needs the package pyarrow: pip install pyarrow" in said
    assert dest.read_bytes() == b"old"
    monkeypatch.undo()
    assert "wrote 7 RGB images" in run("--source", photos, "--dest", dest, "--overwrite")
    assert arrow.read_table(dest).num_rows == 7
