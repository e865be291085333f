import os
import socket
import subprocess
import sys

import pytest

from imaging.atomic import replacing, replacing_folder


def test_a_file_appears_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with replacing(path) as file:
        file.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_block_early_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(failure), replacing(path) as file:
        file.write(b"half")
        raise failure
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


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


def test_what_dead_processes_left_is_swept(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = socket.gethostname()
    stale = [tmp_path / f".a.{host}-{int(dead.stdout)}.tmp", tmp_path / ".a.elsewhere-7.tmp"]
    alive = [
        tmp_path / f".a.{host}-{os.getppid()}.tmp",  # its process lives
        tmp_path / ".a.elsewhere-8.tmp",  # another machine's, and young
        tmp_path / f".b.{host}-{int(dead.stdout)}.tmp",  # another file's
    ]
    for path in stale[1:] + alive:
        path.touch()
    stale[0].mkdir()
    (stale[0] / "half.png").touch()
    os.utime(stale[1], (0, 0))
    with replacing(tmp_path / "a"):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a", *alive])


def test_errors_of_the_system_name_what_was_to_be_written(tmp_path):
    path = tmp_path / "a"
    for inside in (None, "img.png"):
        with pytest.raises(OSError) as error, replacing_folder(path) as folder:
            raise OSError(28, "No space left on device", str(folder / inside) if inside else None)
        assert (error.value.errno, error.value.filename) == (28, str(path))
    with pytest.raises(OSError) as error, replacing(tmp_path / ("long" * 70)):
        pass
    assert error.value.filename == str(tmp_path / ("long" * 70))
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        (tmp_path / "other").read_bytes()
    assert error.value.filename == str(tmp_path / "other")
