"""What another put where an interrupted conversion leaves its part: nothing of it is followed or removed."""

import json
import os

import pytest

from imaging.conversion import Options, convert
from imaging.partial import PartialArchive, pending
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


def interrupted(source, dest, monkeypatch):
    """What a run leaves that was stopped when all pictures were made."""

    def stop(self):
        self._sync()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartialArchive, "_finish", stop)
        convert(source, dest, SIZE, workers=1)
    return place_of(dest) / "journal.jsonl"


ODD = ["[1]", "7", "null", "{}", '{"options": [1]}', "[" * 100_000 + "]" * 100_000, "1" * 5000, "[1, 2, 3]", "\0"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("line", [0, 1, 2])
def test_odd_lines_of_a_journal_are_cut_off(tmp_path, source, monkeypatch, line, odd):
    journal = interrupted(source, tmp_path / "out.zip", monkeypatch)
    lines = journal.read_text().splitlines()
    lines[line] = odd
    journal.write_text("\n".join(lines) + "\n")
    report = convert(source, tmp_path / "out.zip", SIZE, workers=1)
    assert (report.written, report.resumed) == (3, 0)


@pytest.mark.parametrize("field", range(8))
@pytest.mark.parametrize("odd", ["-1", "1e999", '"\\u001b[2J"', "{}", "9" * 400])
def test_odd_fields_of_a_journal_are_cut_off(tmp_path, source, monkeypatch, field, odd):
    journal = interrupted(source, tmp_path / "out.zip", monkeypatch)
    *before, last = journal.read_text().splitlines()
    fields = [json.dumps(value) for value in json.loads(last)]
    fields[field] = odd
    journal.write_text("\n".join([*before, f"[{','.join(fields)}]"]) + "\n")
    report = convert(source, tmp_path / "out.zip", SIZE, workers=1)
    assert report.written + len(report.broken) == 3
    assert report.resumed == (3 if field == 6 and odd[0] == '"' else 2)  # the reason is any text


def test_a_plan_with_more_in_it_is_another_plan(tmp_path, source, monkeypatch):
    journal = interrupted(source, tmp_path / "out.zip", monkeypatch)
    plan, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([json.dumps(json.loads(plan) | {"more": 1}), *rest]) + "\n")
    assert "by an interrupted run whose more differed: " in refused(source, tmp_path / "out.zip", False)


def test_a_journal_without_an_end_is_not_read_to_its_end(tmp_path, source, monkeypatch):
    journal = interrupted(source, tmp_path / "out.zip", monkeypatch)
    monkeypatch.setattr("imaging.partialjournal.LONGEST_LINE", 2**16)
    os.truncate(journal, 2**40)  # a hole
    assert pending(tmp_path / "out.zip") == 3
    assert convert(source, tmp_path / "out.zip", SIZE, workers=1).resumed == 3
