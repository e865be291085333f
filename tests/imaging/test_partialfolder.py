"""What another put where an interrupted conversion leaves its part: nothing of it is followed or removed."""

import os

import pytest

from imaging.conversion import Options, convert
from imaging.partial import pending
from imaging.partialfolder import place_of
from tests.imaging.pictures import picture, write_folder

SIZE = Options((16, 16))


@pytest.fixture
def source(tmp_path):
    return write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(3)})


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    (folder / "deep").mkdir(parents=True)
    for name in ("journal.jsonl", "lock", "pictures.zip", "deep/img00000000.png"):
        (folder / name).write_bytes(b"precious")
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(source, dest, restart):
    with pytest.raises(ValueError) as error:
        convert(source, dest, SIZE, workers=1, restart=restart)
    assert "\n" not in str(error.value) and not dest.exists()
    return str(error.value)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["out.zip", "out", "out-%06d.tar"])
def test_a_link_in_its_place_is_refused(tmp_path, source, victim, name, restart):
    dest, before = tmp_path / name, contents(victim)
    place_of(dest).symlink_to(victim)
    assert pending(dest) == 0
    assert refused(source, dest, restart) == (
        f"{place_of(dest)} is no folder but a link or a file, where an interrupted run leaves its part: move it "
        f"elsewhere, or name another --dest"
    )
    assert contents(victim) == before


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["journal.jsonl", "lock", "pictures.zip", "pictures"])
@pytest.mark.parametrize("way", ["link", "second name", "pipe"])
def test_links_and_pipes_in_it_are_refused(tmp_path, source, victim, name, way, restart):
    dest, before = tmp_path / "out.zip", contents(victim)
    place_of(dest).mkdir()
    path, target = place_of(dest) / name, victim / ("deep" if name == "pictures" else name)
    if way == "link":
        path.symlink_to(target)
    elif way == "pipe":
        os.mkfifo(path)
    elif name == "pictures":
        return
    else:
        path.hardlink_to(target)
    what = {"link": "is a link", "pipe": "is no regular file", "second name": "is a second name of a file elsewhere"}
    assert pending(dest) == 0 and refused(source, dest, restart).startswith(f"{path} {what[way]}, where ")
    assert contents(victim) == before and os.path.lexists(path)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", "pictures/thesis.tex", "pictures/00000/thesis.tex"])
def test_files_of_others_stay(tmp_path, source, name, restart):
    dest = tmp_path / "out"
    mine = place_of(dest) / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    (place_of(dest) / "pictures" / "00000").mkdir(parents=True, exist_ok=True)
    (place_of(dest) / "pictures" / "00000" / "img00000000.png").write_bytes(b"old")
    assert refused(source, dest, restart).endswith(": move it elsewhere, or name another --dest")
    assert mine.read_bytes() == b"precious"


class StopError(Exception):
    pass


def test_links_among_the_pictures_of_an_interrupted_run_are_refused(tmp_path, source, victim):
    dest, before = tmp_path / "out", contents(victim)

    def stopping(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == 2:
                raise StopError
            yield item

    with pytest.raises(StopError):
        convert(source, dest, SIZE, workers=1, track=stopping)
    assert pending(dest) == 2
    planted = place_of(dest) / "pictures" / "00000" / "img00000002.png"
    planted.symlink_to(victim / "deep" / "img00000000.png")
    assert refused(source, dest, restart=False).startswith(f"{planted} is a link, where ")
    planted.unlink()
    planted.hardlink_to(victim / "deep" / "img00000000.png")
    assert convert(source, dest, SIZE, workers=1).resumed == 2
    assert contents(victim) == before and len(contents(dest)) >= 4 and not place_of(dest).exists()
