"""Shards made by dataset_tool.py, and of shards."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import dataset_tool
from imaging.conversion import ConversionOptions, convert
from imaging.dataset import DataConfig, open_dataset
from imaging.sources.recognition import open_source
from imaging.workfile import place_of
from tests.commands import refused
from tests.imaging.pictures import picture, write_folder
from tests.imaging.shards.tars import write_shards

COUNT = 20


@pytest.fixture
def folder(tmp_path):
    """Of 2 classes; one picture is broken, and one comes twice."""
    files = {f"{'ab'[i % 2]}/{i:02d}.png": picture(20, 18, seed=i % 19) for i in range(COUNT)}
    return write_folder(tmp_path / "photos", files | {"a/04.png": b"nothing"})


OPTIONS = ConversionOptions((16, 16), labels="folders", shard_size=4)


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


def tool(*arguments):
    return CliRunner().invoke(dataset_tool.main, list(map(str, arguments)), prog_name="dataset_tool.py")


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def same_items(a, b):
    assert len(a) == len(b) and a.class_names == b.class_names
    return all(np.array_equal(a[i][0], b[i][0]) and a[i][1] == b[i][1] for i in range(len(a)))


@pytest.mark.parametrize("dest", ["x-%04d.tar", "x-{0..4}.tar", "x.tar"])
def test_shards_hold_what_a_zip_holds(tmp_path, folder, dest):
    size = ["--shard-size", "4"] if "%" in dest else []
    common = ["--source", folder, "--resolution", "16x16", "--labels", "folders"]
    for each in (["--dest", tmp_path / "x.zip"], ["--dest", tmp_path / "s" / dest, *size]):
        done = tool(*common, *each)
        assert done.exit_code == 0, done.output
        assert f"wrote {COUNT - 1} RGB images of 16x16" in done.output
    shards = opened(tmp_path / "s" / (dest if "%" not in dest else "x-{0000..0004}.tar"))
    archive = opened(tmp_path / "x.zip")
    if dest == "x-{0..4}.tar":  # dealt in turn
        order = [i for shard in range(5) for i in range(shard, COUNT - 1, 5)]
        assert all(np.array_equal(shards[k][0], archive[i][0]) for k, i in enumerate(order))
        assert shards.label_counts.tolist() == archive.label_counts.tolist()
    else:
        assert same_items(shards, archive)
    assert shards.class_names == ("a", "b") and not place_of(tmp_path / "s" / dest).exists()


@pytest.mark.parametrize("dest", ["x-%04d.tar", "x-{0..4}.tar"])
def test_an_interrupted_conversion_goes_on(tmp_path, folder, dest):
    """Stopped after every third image, it ends with the same bytes, the index included."""
    options = OPTIONS if "%" in dest else ConversionOptions((16, 16), labels="folders")
    convert(folder, tmp_path / "whole" / dest, options, workers=1)

    def stopping(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == 3:
                raise KeyboardInterrupt
            yield item

    resumed = 0
    while True:
        try:
            report = convert(folder, tmp_path / "parts" / dest, options, workers=1, track=stopping)
            break
        except KeyboardInterrupt:
            assert [path.name for path in (tmp_path / "parts").iterdir()] == [f".{dest}.partial"]
            resumed += 1
    assert resumed > 3 and report.resumed > 10
    assert files(tmp_path / "whole") == files(tmp_path / "parts")
    assert len(files(tmp_path / "whole")) == 7


def killed(after, action, *arguments):
    """Runs `action` in a process that is killed by SIGKILL when `after` files have been moved to their places."""
    left, replace = [after], Path.replace

    def moving(path, to):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return replace(path, to)

    def run():
        Path.replace = moving
        action(*arguments)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


ARGUMENTS = ("--resolution", "16x16", "--labels", "folders", "--workers", 1)


@pytest.mark.parametrize("dest", ["x-%04d.tar", "x-{0..4}.tar"])
def test_killed_while_shards_are_published(tmp_path, folder, dest):
    """Killed between any two moves, the same command continues, and until then training refuses the set."""
    size = ["--shard-size", 4] if "%" in dest else []
    command = ["--source", folder, *ARGUMENTS, *size, "--dest"]
    assert tool(*command, tmp_path / "whole" / dest).exit_code == 0
    whole = files(tmp_path / "whole")
    assert len(whole) == 7
    for after in (0, 2, 3, 6):
        place = tmp_path / f"parts-{after}"
        assert killed(after, tool, *command, place / dest)
        assert len([name for name in files_in(place) if name.startswith("x")]) == after
        if after > 2:  # before, there is no shard
            with pytest.raises(ValueError, match=r"is missing \(. of the 5 shards that x-index\.json lists are\)"):
                opened(place / "x-*.tar")
            with pytest.raises(ValueError, match=r"that x-index\.json lists are"):
                open_source(str(place / "x-*.tar"))
            assert "exists already" in refused(tool(*command, place / dest, "--restart")) or after < 4
        if after == 3:  # killed once more
            assert killed(1, tool, *command, place / dest)
        done = tool(*command, place / dest)
        assert done.exit_code == 0, done.output
        assert after == 6 or "continuing an interrupted run" in done.output
        assert files(place) == whole, "with nothing beside"
        assert "exists already" in refused(tool(*command, place / dest))


def files_in(folder):
    return [path.name for path in folder.iterdir()]


def test_what_another_put_there_is_not_replaced(tmp_path, folder):
    command = ["--source", folder, *ARGUMENTS, "--shard-size", 4, "--dest", tmp_path / "x-%d.tar"]
    assert killed(4, tool, *command)
    (tmp_path / "x-3.tar").write_bytes(b"precious")
    assert "x-3.tar exists already" in refused(tool(*command))
    assert (tmp_path / "x-3.tar").read_bytes() == b"precious"
    (tmp_path / "x-3.tar").unlink()
    assert tool(*command).exit_code == 0 and len(opened(tmp_path / "x-*.tar")) == COUNT - 1


def test_shards_are_a_source(tmp_path):
    pattern = write_shards(tmp_path / "set", [3, 4, 5])
    done = tool("--source", pattern, "--dest", tmp_path / "x.zip")
    assert done.exit_code == 0, done.output
    assert same_items(opened(pattern), opened(tmp_path / "x.zip"))
    done = tool("--source", tmp_path / "set" / "x-0001.tar", "--dest", tmp_path / "one.zip")
    assert done.exit_code == 0, done.output
    assert opened(tmp_path / "one.zip").label_counts.tolist() == [2, 1, 1], "its .cls files are its labels"
    seen = tool("inspect", pattern).output
    assert "is shards of 12 images" in seen and opened(pattern).fingerprint in seen


def test_what_is_refused(tmp_path, folder):
    common = ["--source", folder, "--resolution", "16x16"]
    shards = tmp_path / "s" / "x-%d.tar"
    assert "--shard-size needs a shard pattern for --dest" in refused(
        tool(*common, "--dest", "x.zip", "--shard-size", 5)
    )
    assert "does not name shards" in refused(tool(*common, "--dest", "x-{0..3}.tar", "--shard-size", 5))
    assert tool(*common, "--dest", shards).exit_code == 0
    assert "exists already: remove the old shards and their index" in refused(tool(*common, "--dest", shards))
    assert "fewer than the 51 shards" in refused(tool(*common, "--dest", tmp_path / "y-{0..50}.tar"))
    assert "--every picks frames of a video" in refused(
        tool("--source", tmp_path / "s" / "x-*.tar", "--dest", tmp_path / "z.zip", "--every", 2)
    )
