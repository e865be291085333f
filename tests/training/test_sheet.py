"""What sample sheets show: classes that there are, and reals from all over the set."""

import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import generate
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import Classes, ImageSet
from imaging.setwriter import ShardWriter
from imaging.shards.shardset import ShardSet
from models.families import read_network
from tests.commands import picture, train_on, zipped
from tests.training.runs import resume, train
from torch_utils import runs
from training.sheet import Sheet

SIDE = 64  # pixels: sheets have 20 columns at most and 11 rows


class Numbered(ImageSet):
    """Picture i is filled with i; the classes follow one another in the order of the set."""

    def __init__(self, counts: list[int], mirror: bool = False) -> None:
        self.labels = np.repeat(np.arange(len(counts)), counts)
        names = tuple(str(k) for k in range(len(counts))) if len(counts) > 1 else ()
        values = np.array(counts if names else [], dtype=np.int64)
        super().__init__("numbered", SIDE, SIDE, 3, sum(counts), Classes(names, values, ""), mirror, "f")

    def read(self, index: int) -> np.ndarray:
        return np.full([3, SIDE, SIDE], index, np.uint8)

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def examples(self, label: int) -> np.ndarray:
        return (self.labels == label).nonzero()[0]


def shown(dataset: ImageSet, seed: int = 0) -> tuple[Sheet, np.ndarray]:
    """The sheet, and which picture stands in each place of the sheet of reals, [rows, columns]."""
    sheet = Sheet(dataset, seed)
    return sheet, np.asarray(sheet.reals(dataset))[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE, 0]


@pytest.mark.parametrize("mirror", [False, True])
def test_reals_are_a_sample_from_all_over_the_set(mirror):
    _, numbers = shown(Numbered([250], mirror))
    assert numbers.size == len(set(numbers.flatten().tolist())), "no picture twice while there are others"
    assert np.abs(np.sort(numbers.flatten()).mean() - 125) < 15
    again, other = shown(Numbered([250], mirror))[1], shown(Numbered([250], mirror), seed=1)[1]
    assert (again == numbers).all() and (other != numbers).any()


def test_every_row_shows_a_sample_of_its_class():
    sheet, numbers = shown(Numbered([120, 3, 120]))
    dataset = Numbered([120, 3, 120])
    for k, row in zip(sheet.classes, numbers, strict=True):
        assert {dataset.label(int(i)) for i in row} == {k}
    rare = numbers[np.array(sheet.classes) == 1]
    assert Counter(rare.flatten().tolist()).keys() == {120, 121, 122}, "all three of them, again and again"
    first = numbers[np.array(sheet.classes) == 0]
    assert first.max() > 100 and len(np.unique(first)) == first.size


def test_a_rare_class_is_found_where_the_shuffle_shows_it_late(monkeypatch):
    monkeypatch.setattr("training.sheet.LOOKED_AT", 0)
    sheet, numbers = shown(Numbered([120, 3, 120]))
    dataset = Numbered([120, 3, 120])
    assert [{dataset.label(int(i)) for i in row} for row in numbers] == [{k} for k in sheet.classes]


def test_empty_classes_have_no_row():
    sheet, _ = shown(Numbered([0, 100, 0, 100, 0]))
    assert sheet.classes == [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]
    assert set(sheet.labels) == {1, 3}


@pytest.mark.parametrize("most, columns, rows", [(256, 20 - 4, 11), (40, 16, 2), (7, 7, 1)])
def test_a_sheet_has_at_most_so_many_pictures(most, columns, rows):
    sheet = Sheet(Numbered([250]), 0, most)
    assert (sheet.columns, sheet.rows, len(sheet.labels)) == (columns, rows, columns * rows)
    assert sheet.reals(Numbered([250])).size == (columns * SIDE, rows * SIDE)


@pytest.mark.parametrize("labeled", [False, True])
def test_reals_of_shards_are_of_the_shards_that_training_opens_first(tmp_path, monkeypatch, labeled):
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))
    with ShardWriter(tmp_path / "x-%04d.tar", shard_size=20) as writer:
        for i in range(400):
            writer.add(Image.fromarray(np.full([16, 16, 3], i % 200, np.uint8)), i % 2 if labeled else None)
    dataset = ShardSet(str(tmp_path / "x-{0000..0019}.tar"), "auto", False)
    opened: list[int] = []
    honest = ShardSet._opened
    monkeypatch.setattr(ShardSet, "_opened", lambda self, number: opened.append(number) or honest(self, number))
    Sheet(dataset, 3).reals(dataset)
    order = ShardSet(str(tmp_path / "x-{0000..0019}.tar"), "auto", False)
    count = 400 if labeled else 256
    first = {order._place(order.index_at(3, position))[0] for position in range(count)}
    assert len(set(opened)) >= 10 and set(opened) <= first


def test_a_class_without_images_is_left_out_everywhere(tmp_path):
    """Classes 1 and 2 have images, class 0 has none."""
    labels = [[f"00000/img{i:08d}.png", 1 + i % 2] for i in range(8)]
    result = train_on(zipped(tmp_path / "from1.zip", labels=labels), tmp_path, pace__kimg=0.004)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    network = runs.newest_in(folder)
    assert network is not None and read_network(network).metadata["data"]["class_counts"] == [0, 4, 4]
    made = []
    for words in ([], ["--class", "1"]):
        arguments = ["--network", str(network), "--seeds", "0", "--outdir", str(tmp_path / f"out{len(words)}"), *words]
        result = CliRunner().invoke(generate.main, arguments)
        assert result.exit_code == 0, result.output
        made += [result.output, next((tmp_path / f"out{len(words)}").glob("*.png")).read_bytes()]
    assert "class of each picture: of the 3 those that were learned, seed mod 2 (1, 2)" in made[0]
    assert made[1] == made[3]


def test_a_resumed_run_keeps_its_reals(tmp_path):
    """Those of an older program, to which its fakes were compared."""
    folder = train(tmp_path, stop_at=2, pace__kimg=0.02, data__labels="none")
    picture(4).save(folder / "reals.png")
    before = (folder / "reals.png").read_bytes()
    resume(folder)
    assert (folder / "reals.png").read_bytes() == before


@pytest.mark.parametrize("what", ["other size", "other height", "bomb", "cut short", "nothing"])
def test_reals_that_are_not_of_this_run_are_not_compared_with(tmp_path, what):
    dataset = Numbered([250])
    sheet, path = Sheet(dataset, 0), tmp_path / "reals.png"
    reals = sheet.reals(dataset)
    assert sheet.measure(reals, path) == {}
    if what == "bomb":
        write_png(path, 60_000, 60_000)
    elif what == "cut short":
        reals.save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif what != "nothing":
        reals.resize((100, reals.height) if what == "other size" else (reals.width, 100)).save(path)
    assert sheet.measure(reals, path) == {}
    reals.save(path)
    assert sheet.measure(reals, path)["samples/diversity"] == pytest.approx(1)


def write_png(path: Path, width: int, height: int) -> None:
    """A PNG that says it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_the_set_of_the_demo_has_all_its_classes():
    dataset = open_dataset(DataConfig(path="demo:32"))
    sheet = Sheet(dataset, 0)
    assert sheet.classes == [row % 5 for row in range(16)]
    reals = sheet.reals(dataset)
    assert reals.height == 16 * 32 and reals.width > 16 * 32 + 20, "names before the rows"


def test_names_before_the_rows_change_no_measure(tmp_path):
    dataset = open_dataset(DataConfig(path="demo:32", max_images=200))
    sheet = Sheet(dataset, 3)
    named = sheet.reals(dataset)
    plain = named.crop((named.width - 16 * 32, 0, named.width, named.height))
    named.save(tmp_path / "named.png")
    plain.save(tmp_path / "plain.png")  # as before there were names
    found = sheet.measure(plain, tmp_path / "named.png")
    assert found == sheet.measure(plain, tmp_path / "plain.png") and 0.9 < found["samples/diversity"] < 1.1
