"""Conversions by several processes, interrupted and resumed: always the same bytes."""

import csv
import multiprocessing
import os
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imaging import pixels, workfile
from imaging.conversion import ConversionOptions, convert
from imaging.dataset import DataConfig, open_dataset
from imaging.workfile import pending, place_of
from tests.imaging.pictures import encoded, index, picture, write_folder, write_zip
from tests.imaging.sources.files import tarred

COUNT = 150
SIZE = ConversionOptions((16, 16), duplicates="drop")


def images(count=COUNT):
    """Pictures of several sizes, broken ones and duplicates among them, with labels."""
    files = {f"{i:03d}.png": encoded(picture(16 + i % 5, 20, seed=i)) for i in range(count)}
    files |= {"010.png": b"broken", "020.png": files["021.png"][:-300], "031.png": files["030.png"]}
    return files | {"dataset.json": index([[f"{i:03d}.png", i % 3] for i in range(count)])}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_zip(tmp_path_factory.mktemp("source") / "in.zip", images())


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    dest = tmp_path_factory.mktemp("reference") / "out.zip"
    convert(source, dest, SIZE, workers=1)
    return dest.read_bytes()


class StopError(Exception):
    pass


def stopping(after):
    """Track that fails when `after` pictures are written."""

    def track(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == after:
                raise StopError
            yield item

    return track


def contents(dest):
    if dest.is_file():
        return dest.read_bytes()
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, source, reference, workers):
    report = convert(source, tmp_path / "out.zip", SIZE, workers=workers)
    assert (tmp_path / "out.zip").read_bytes() == reference
    assert (report.written, report.duplicates, report.twins) == (COUNT - 3, 1, [("031.png", "030.png")])
    assert sorted(report.broken) == ["010.png", "020.png"] and report.conflicting == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def members(path):
    with zipfile.ZipFile(path) as container:
        return {name: container.read(name) for name in container.namelist()}


@pytest.mark.parametrize("dest", ["out.zip", "out", "out-%d.tar", "out-{0..2}.tar"])
def test_the_set_keeps_the_names_of_its_sources(tmp_path, dest):
    odd = os.fsdecode(b'r\xe9sum\xe9, "new".png')
    files = {"b/2.png": picture(seed=2), odd: picture(seed=1), "a,1.png": picture(seed=0), "c.png": picture(seed=1)}
    source = write_folder(tmp_path / "in", files | {"d.png": b"broken", "e.png": picture(seed=4)})
    size = 3 if "%" in dest else 0
    convert(source, tmp_path / dest, ConversionOptions((16, 16), duplicates="drop", shard_size=size), workers=1)
    if dest == "out.zip":
        table = members(tmp_path / dest)["sources.csv"]
    else:
        table = (tmp_path / ("out-sources.csv" if ".tar" in dest else "out/sources.csv")).read_bytes()
    header, *rows = csv.reader(table.decode(errors="surrogateescape").splitlines())
    assert header == ["file", "source"]
    names = [f"out-{i // 3 if size else i % 3}.tar/{i:08d}.png" for i in range(4)]
    if ".tar" not in dest:
        names = [f"00000/img{i:08d}.png" for i in range(4)]
    assert [name for name, _ in rows] == names
    dataset = open_dataset(DataConfig(path=str(tmp_path / dest.replace("%d", "*"))))
    for name, origin in rows:
        with Image.open(source / origin) as image:
            expected = np.asarray(image).transpose(2, 0, 1)
        assert np.array_equal(dataset[sorted(names).index(name)][0], expected)


@pytest.mark.parametrize("name", ["out.zip", "out"])
@pytest.mark.parametrize("after", [1, 45, COUNT - 4])
def test_an_interrupted_conversion_goes_on(tmp_path, source, name, after):
    convert(source, tmp_path / "whole" / name, SIZE, workers=1)
    dest, told = tmp_path / name, []
    with pytest.raises(StopError):
        convert(source, dest, SIZE, workers=1, track=stopping(after))
    assert not dest.exists() and pending(dest) == after
    report = convert(source, dest, SIZE, workers=1, tell=told.append)
    assert contents(dest) == contents(tmp_path / "whole" / name)
    assert told == [f"continuing an interrupted run: {after} of {COUNT - 1} images are done"]
    assert (report.written, report.duplicates, len(report.broken), report.resumed) == (COUNT - 3, 1, 2, after)
    assert not place_of(dest).exists()


def interrupted(tmp_path, source):
    dest = tmp_path / "out.zip"
    with pytest.raises(StopError):
        convert(source, dest, SIZE, workers=1, track=stopping(50))
    return dest


def test_other_options_do_not_mix(tmp_path, source, reference):
    dest = interrupted(tmp_path, source)
    with pytest.raises(ValueError) as error:
        convert(source, dest, ConversionOptions((32, 16), duplicates="drop"), workers=1)
    assert str(error.value) == (
        f"an interrupted run began {dest} with --resolution 16x16, not 16x32: repeat its options to continue it, or "
        f"start over with --restart"
    )
    assert pending(dest) == 50
    convert(source, dest, SIZE, workers=1, restart=True)
    assert dest.read_bytes() == reference


def test_a_source_that_has_changed_is_refused(tmp_path):
    folder = write_folder(tmp_path / "in", images(60))
    dest = interrupted(tmp_path, folder)
    (folder / "000.png").write_bytes(encoded(picture(20, 20, seed=99)))
    with pytest.raises(ValueError, match=r"an interrupted run began .*out\.zip with another source: repeat"):
        convert(folder, dest, SIZE, workers=1)


def test_two_processes_do_not_write_the_same_file(tmp_path, source):
    dest = tmp_path / "out.zip"

    def meanwhile(items, total, label):
        if label == "writing":
            with pytest.raises(ValueError) as error:
                convert(source, dest, SIZE, workers=1)
            assert str(error.value) == f"{dest} is being written by another process: wait for it to end"
        yield from items

    convert(source, dest, SIZE, workers=1, track=meanwhile)


def convert_slowly(source, dest, workers):
    """What the doomed process does: each image is committed before the next."""
    encode = pixels.encode_png

    def slow(image):
        time.sleep(0.05)
        return encode(image)

    workfile.COMMIT_SECONDS, pixels.encode_png = 0, slow
    convert(source, dest, SIZE, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_that_is_killed_goes_on(tmp_path, source, reference, workers):
    dest = tmp_path / "out.zip"
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    program = context.Process(target=convert_slowly, args=(source, dest, workers))
    program.start()
    theirs.close()
    deadline = time.monotonic() + 60
    while pending(dest) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    program.kill()
    program.join()
    assert ours.poll(30), "the end of the pipe, which every process that it had started holds open"
    assert 20 <= pending(dest) < COUNT - 1 and not dest.exists()
    assert convert(source, dest, SIZE, workers=1).resumed >= 20
    assert dest.read_bytes() == reference


def test_a_full_disk_costs_nothing_that_was_done(tmp_path, source, reference, monkeypatch):
    dest = tmp_path / "out.zip"
    with monkeypatch.context() as patched:
        patched.setattr(workfile, "COMMIT_SECONDS", 0)
        patched.setattr(workfile, "TABLES", "PRAGMA max_page_count = 5;" + workfile.TABLES)
        with pytest.raises(OSError) as error:
            convert(source, dest, SIZE, workers=1)
    assert (error.value.errno, error.value.filename) == (28, str(dest))
    done = pending(dest)
    assert 10 < done < COUNT - 1 and convert(source, dest, SIZE, workers=1).resumed == done
    assert dest.read_bytes() == reference


@pytest.mark.parametrize("workers", [1, 2])
def test_sequential_sources_go_on_too(tmp_path, workers):
    path = tarred(tmp_path / "in.tar.gz", {k: v for k, v in images(80).items() if k != "dataset.json"}, "gz")
    convert(path, tmp_path / "whole.zip", SIZE, workers=workers)
    with pytest.raises(StopError):
        convert(path, tmp_path / "out.zip", SIZE, workers=workers, track=stopping(33))
    assert convert(path, tmp_path / "out.zip", SIZE, workers=workers).resumed == 33
    assert (tmp_path / "out.zip").read_bytes() == (tmp_path / "whole.zip").read_bytes()


def test_a_transform_needs_a_size():
    with pytest.raises(ValueError) as error:
        convert("nowhere", "out.zip", ConversionOptions(transform="pad"))
    assert str(error.value) == "--transform pad needs a target size: add --resolution, such as 256x256"


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("size", [None, (16, 16)])
def test_what_was_settled_before_the_first_picture_holds_after_an_interruption(tmp_path, deep, size):
    images = [np.asarray(picture(mode="L", seed=i)).astype(np.uint16 if deep else np.uint8) for i in range(6)]
    files = {f"{i}.png": Image.fromarray(image * (9 if deep else 1)) for i, image in enumerate(images)}
    source = write_folder(tmp_path / "in", files | {"3.png": b"broken"})
    options = ConversionOptions(size)
    whole = convert(source, tmp_path / "whole.zip", options, workers=1)
    with pytest.raises(StopError):
        convert(source, tmp_path / "out.zip", options, workers=1, track=stopping(2))
    report = convert(source, tmp_path / "out.zip", options, workers=1)
    assert contents(tmp_path / "out.zip") == contents(tmp_path / "whole.zip") and report.resumed == 2
    assert replace(report, resumed=0) == whole and len(whole.notes) == deep
