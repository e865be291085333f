"""The work file of an interrupted conversion, and what another may put in its place: nothing is followed or removed."""

import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from pydantic import TypeAdapter

from imaging.conversion import ConversionOptions, convert
from imaging.workfile import Done, pending, place_of, work_file
from tests.imaging.pictures import picture, write_folder

SIZE = ConversionOptions((16, 16))
SETTLED, ANY = {"broken": {"\udc80": "why"}}, TypeAdapter(Any)


class StopError(Exception):
    pass


@pytest.fixture
def source(tmp_path):
    return write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(3)})


def refused(source, dest, restart=False):
    with pytest.raises(ValueError) as error:
        convert(source, dest, SIZE, workers=1, restart=restart)
    assert "\n" not in str(error.value) and not dest.exists()
    return str(error.value)


def interrupted(source, dest):
    def stopping(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == 2:
                raise StopError
            yield item

    with pytest.raises(StopError):
        convert(source, dest, SIZE, workers=1, track=stopping)
    assert pending(dest) == 2
    return place_of(dest)


def test_what_is_kept_comes_back(tmp_path):
    rows = [Done(0, b"png", 2**64 - 1, True), Done(3, reason='it is "\ud800"\n'), Done(5, None, 7)]
    with pytest.raises(StopError), work_file(tmp_path / "x.zip", {"--size": 1, "a": 1}, restart=False) as work:
        for row in rows:
            work.append(row)
        assert work.kept("settled", ANY, lambda: SETTLED) == SETTLED
        raise StopError
    with work_file(tmp_path / "x.zip", {"--size": 1, "a": 1}, restart=False) as work:
        assert list(work.rows(with_data=True)) == rows and work.kept("settled", ANY, lambda: None) == SETTLED
        assert [row.data for row in work.rows(with_data=False)] == [None] * 3
    assert not list(tmp_path.iterdir()), "nothing is left when the work is done"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("way", ["link", "pipe", "file", "database"])
def test_something_else_in_its_place_is_refused_and_stays(tmp_path, source, way, restart):
    dest, victim = tmp_path / "out.zip", tmp_path / "victim"
    victim.write_bytes(b"precious")
    place = place_of(dest)
    if way == "link":
        place.symlink_to(victim)
    elif way == "pipe":
        os.mkfifo(place)
    elif way == "file":
        place.write_bytes(b"precious")
    else:
        with closing(sqlite3.connect(place)) as database:
            database.execute("CREATE TABLE thesis (chapter)")
    assert pending(dest) == 0
    assert refused(source, dest, restart) == (
        f"{place} is not the work file of an interrupted conversion: move it elsewhere, or name another --dest"
    )
    assert victim.read_bytes() == b"precious" and os.path.lexists(place)


DAMAGE = [
    *("UPDATE done SET about = '[\"x\", false, null]'", "UPDATE done SET number = -1 WHERE number = 1"),
    *("UPDATE done SET about = '['", "UPDATE done SET about = '7'"),
    *("UPDATE done SET number = 99 WHERE number = 1", "UPDATE done SET data = 'x'", "DROP TABLE done"),
    *("UPDATE kept SET value = '{}'", "UPDATE kept SET value = '[1]'", "UPDATE kept SET value = zeroblob(9)"),
    "UPDATE kept SET value = '{\"fit\": \"x\"}' WHERE key = 'settled'",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_sentence(tmp_path, source, damage):
    dest = tmp_path / "out.zip"
    with closing(sqlite3.connect(interrupted(source, dest))) as database, database:
        database.execute(damage)
    told = refused(source, dest) if damage != "DROP TABLE done" else "damaged"
    assert "damaged" in told or "an interrupted run began" in told
    assert convert(source, dest, SIZE, workers=1, restart=True).written == 3
