import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from torch_utils.atomic import replacing


def _write(path, text, previous=None):
    with replacing(path, previous) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_and_the_old_one_kept(tmp_path):
    path, previous = tmp_path / "new" / "a.txt", tmp_path / "new" / "before.txt"
    for text in ("one", "two", "three"):
        _write(path, text, previous)
    assert (path.read_text(), previous.read_text()) == ("three", "two")
    assert len(list(path.parent.iterdir())) == 2


def test_until_the_end_the_old_file_stands(tmp_path):
    path = tmp_path / "a.txt"
    _write(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("half of the ne")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename over two disks is no rename
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error):
    path, previous = tmp_path / "a.txt", tmp_path / "before.txt"
    _write(path, "one", previous)
    _write(path, "two", previous)
    with pytest.raises(type(error)), replacing(path, previous) as temporary:
        temporary.write_text("thr")
        raise error
    assert (path.read_text(), previous.read_text()) == ("two", "one")
    assert len(list(tmp_path.iterdir())) == 2


def test_it_is_on_the_disk_before_it_is_moved(tmp_path, monkeypatch):
    events: list[str] = []
    sync, move = os.fsync, Path.replace

    def synced(descriptor):
        events.append("sync")
        sync(descriptor)

    def moved(path, to):
        events.append(to.name)
        return move(path, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    _write(tmp_path / "a", "one", tmp_path / "b")
    _write(tmp_path / "a", "two", tmp_path / "b")
    assert events == ["sync", "a", "sync", "sync", "b", "a", "sync"]


def test_temporaries_of_dead_processes_are_swept(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = socket.gethostname()
    stale = [tmp_path / f".a.{host}-{int(dead.stdout)}.tmp", tmp_path / ".a.elsewhere-7.tmp"]
    alive = [
        tmp_path / f".a.{host}-{os.getppid()}.tmp",  # its process lives
        tmp_path / ".a.elsewhere-8.tmp",  # another machine's, and young
        tmp_path / f".b.{host}-{int(dead.stdout)}.tmp",  # another file's
    ]
    for path in stale + alive:
        path.touch()
    os.utime(stale[1], (0, 0))
    _write(tmp_path / "a", "text")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a", *alive])


def test_errors_of_the_system_name_what_was_to_be_written(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(OSError) as error, replacing(path) as temporary:
        raise OSError(28, "No space left on device", str(temporary))
    assert (error.value.errno, error.value.filename) == (28, str(path))
    with pytest.raises(OSError) as error, replacing(path) as temporary:
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        (tmp_path / "other").read_bytes()
    assert error.value.filename == str(tmp_path / "other")
    with pytest.raises(OSError, match=r"^mine$"), replacing(path):
        raise OSError("mine")
