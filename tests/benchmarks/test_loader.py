import io
import json
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import loader
from imaging.dataset import DataConfig, open_dataset

TINY = "--resolution 16x8 --images 6 --rounds 1 --seconds 0.01"


def test_generated_pictures_compress_as_photographs_do():
    """PNGs of photographs take about half the bytes of their pixels."""
    image = loader.photograph(256, 256, 0)
    assert image.mode == "RGB" and image.size == (256, 256)
    share = len(loader._compressed(image)) / (256 * 256 * 3)
    assert 0.45 < share < 0.75
    assert np.asarray(image).std() > 20 and len(zlib.compress(image.tobytes())) / (256 * 256 * 3) > share


def test_all_kinds_hold_the_same_pictures(tmp_path):
    paths = loader.generate(tmp_path, 8, 16, 3)
    assert list(paths) == ["plain PNGs, ZIP", "plain PNGs, folder", "compressed PNGs, ZIP", "compressed PNGs, folder"]
    sets = [open_dataset(DataConfig(path=str(path))) for path in paths.values()]
    for i in range(3):
        expected = np.asarray(loader.photograph(8, 16, i)).transpose(2, 0, 1)
        assert all(np.array_equal(dataset[i][0], expected) for dataset in sets)
    with Image.open(io.BytesIO((paths["plain PNGs, folder"] / "00000000.png").read_bytes())) as image:
        assert image.format == "PNG"


def test_a_speed_needs_so_many_workers():
    lines = loader.table("16x16", {"a": {0: 90.0, 1: 100.0, 2: 160.0}}, 4, 81.0).splitlines()
    assert lines[3].split()[-1] == "80.0"  # of each of two
    assert lines[-2:] == ["train.py takes 4 workers here to train on a GPU", "a: 81 images/s need 2 workers"]
    assert loader.table("16x16", {"a": {0: 90.0}}, 4, 90.0).endswith("a: 90 images/s need 1 worker")


def test_counts_what_it_reads_for_the_time_given(tmp_path, monkeypatch):
    dataset = open_dataset(DataConfig(path=str(loader.generate(tmp_path, 8, 16, 3)["plain PNGs, ZIP"])))
    clock = iter([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])  # start, before the 2nd, 3rd and 4th batch, at its end
    monkeypatch.setattr(loader.time, "perf_counter", lambda: next(clock))
    assert loader.speed_of(dataset, 0, 1.2) == 3 * loader.BATCH / 2.0


def test_prints_a_table_or_json():
    table = CliRunner().invoke(loader.main, [*TINY.split(), "--speed", "50", "--workers", "0", "--workers", "1"])
    assert table.exit_code == 0, table.output
    for words in ("16x8 pixels", "plain PNGs, ZIP  ", "compressed PNGs, folder  ", "50 images/s need 1 worker\n"):
        assert words in table.output
    found = json.loads(CliRunner().invoke(loader.main, [*TINY.split(), "--workers", "0", "--json"]).stdout)
    assert found["size"] == "16x8" and next(iter(found["speeds"])) == "plain PNGs, ZIP"
    assert all(row["0"] > 0 for row in found["speeds"].values())


def test_reads_data_of_ones_own(tmp_path):
    paths = loader.generate(tmp_path, 8, 16, 3)
    flags = ["--data", str(paths["plain PNGs, folder"]), "--rounds", "1", "--seconds", "0.01", "--workers", "0"]
    result = CliRunner().invoke(loader.main, flags)
    assert result.exit_code == 0, result.output
    assert str(paths["plain PNGs, folder"]) in result.output and "compressed" not in result.output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--data nowhere.zip", "nowhere.zip does not exist: give a ZIP or a folder of images"),
        ("--resolution big", "--resolution"),
    ],
)
def test_refuses_in_one_sentence(flags, words):
    result = CliRunner().invoke(loader.main, flags.split())
    assert result.exit_code == 2
    assert words in result.output and "Traceback" not in result.output
