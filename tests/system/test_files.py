import errno
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from system import files
from system.files import beside, check_vacant, open_replacing, real_path, replacing


@pytest.fixture(autouse=True)
def no_memory():
    """Each test searches its folders for abandoned temporaries anew."""
    files._abandoned.cache_clear()


@contextmanager
def replacing_folder(path):
    with replacing(path) as temporary:
        temporary.mkdir()
        yield temporary


def _write(path, text, previous=None):
    with replacing(path, previous) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_and_the_old_one_kept(tmp_path):
    path, previous = tmp_path / "new" / "a.txt", tmp_path / "new" / "before.txt"
    for text in ("one", "two", "three"):
        _write(path, text, previous)
    assert (path.read_text(), previous.read_text()) == ("three", "two")
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit()])
def test_a_failure_leaves_everything_as_it_was(tmp_path, error):
    path, previous = tmp_path / "a.txt", tmp_path / "before.txt"
    _write(path, "one", previous)
    _write(path, "two", previous)
    with pytest.raises(type(error)), replacing(path, previous) as temporary:
        temporary.write_text("thr")
        raise error
    with pytest.raises(type(error)), open_replacing(path) as file:
        file.write(b"thr")
        raise error
    assert (path.read_text(), previous.read_text()) == ("two", "one")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_is_on_the_disk_before_it_is_moved(tmp_path, monkeypatch):
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


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_usual_permissions_and_nobody_changes_the_umask(tmp_path, mask, monkeypatch):
    before = os.umask(mask)
    try:
        (tmp_path / "plain").touch()
        (tmp_path / "folder").mkdir()
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("other threads make files, too"))
        with open_replacing(tmp_path / "a"):
            pass
        with replacing_folder(tmp_path / "set"):
            pass
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
        assert (tmp_path / "set").stat().st_mode == (tmp_path / "folder").stat().st_mode
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "set"
    with pytest.raises(RuntimeError), replacing_folder(path) as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with replacing_folder(path) as folder:
        (folder / "a").touch()
        assert not path.exists()
    assert [p.name for p in path.iterdir()] == ["a"] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="is not an empty folder"):
        check_vacant(path)


KILLED = """
import os, pathlib, signal, sys
from system.files import replacing
with replacing(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed(path):
    subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[2], check=False)


@pytest.mark.skipif(os.name != "posix", reason="kills and locks of posix")
def test_what_dead_processes_left_is_swept_and_nothing_else(tmp_path):
    _killed(tmp_path / "a")
    _killed(tmp_path / "b")
    assert len(list(tmp_path.iterdir())) == 2
    others = [tmp_path / ".a.host-7.tmp", tmp_path / "a.tmp"]
    for path in others:
        path.touch()
    _write(tmp_path / "a", "text")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 4 and {"a", *(path.name for path in others)} < set(left)  # and the temporary of b


def test_two_writers_of_one_path_do_not_meet(tmp_path):
    path, entered, done = tmp_path / "a", threading.Event(), threading.Event()

    def slow():
        with replacing(path) as temporary:
            temporary.write_text("slow")
            entered.set()
            done.wait(30)
            assert temporary.read_text() == "slow"

    thread = threading.Thread(target=slow)
    thread.start()
    entered.wait(30)
    files._abandoned.cache_clear()  # as another process would search
    _write(path, "quick")
    assert path.read_text() == "quick"
    done.set()
    thread.join()
    assert path.read_text() == "slow" and list(tmp_path.iterdir()) == [path]


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    folder = tmp_path / "shared"
    folder.mkdir()
    with beside(folder / "a") as ours:
        start = ours.parent.name[:10]
    (folder / f"{start}{'0' * 16}.tmp").symlink_to(victim)
    _write(folder / "a", "text")
    assert (victim / "precious").exists()


@pytest.mark.skipif(os.name != "posix", reason="locks of posix")
def test_file_systems_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    with beside(tmp_path / "a") as other:
        (other / "half").touch()
        files._abandoned.cache_clear()
        _write(tmp_path / "a", "text")
        assert other.exists() and (tmp_path / "a").read_text() == "text"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_folders_serves(tmp_path, monkeypatch, number):
    sync = os.fsync

    def refusing(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(number, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    _write(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError) as error:
        _write(tmp_path / "a", "text")
    assert (error.value.errno, error.value.filename) == (errno.EIO, str(tmp_path / "a"))
    assert not list(tmp_path.iterdir())


def test_errors_of_the_system_name_what_was_to_be_written(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(OSError) as error, replacing(path) as temporary:
        raise OSError(28, "No space left on device", str(temporary))
    assert (error.value.errno, error.value.filename) == (28, str(path))
    for inside in (None, "img.png"):
        with pytest.raises(OSError) as error, replacing_folder(path) as folder:
            raise OSError(28, "No space left on device", str(folder / inside) if inside else None)
        assert (error.value.errno, error.value.filename) == (28, str(path))
    with pytest.raises(OSError) as error, open_replacing(tmp_path / ("long" * 70)):
        pass
    assert error.value.filename == str(tmp_path / ("long" * 70))
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        (tmp_path / "other").read_bytes()
    assert error.value.filename == str(tmp_path / "other")
    with pytest.raises(OSError, match=r"^mine$"), replacing(path):
        raise OSError("mine")


def test_real_paths_have_no_links_but_those_that_lead_to_themselves(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    real = tmp_path.resolve()
    assert real_path(tmp_path / "link" / "x") == real / "folder" / "x"
    assert real_path(str(tmp_path / "loop")) == real / "loop"
