import errno
import multiprocessing

import pytest
from filelock import FileLock, Timeout

from system import locks
from system.locks import BusyError, locked


def test_one_holds_it_and_others_are_told(tmp_path):
    path = tmp_path / ".lock"
    with locked(path) as held:
        assert held
        with pytest.raises(BusyError), locked(path):
            pass
        with pytest.raises(Timeout), FileLock(path, timeout=0):  # as report.html asks whether a run is in progress
            pass
    with locked(path) as held:
        assert held


def _hold(path, ready) -> None:
    with locked(path):
        ready.send(True)
        ready.recv()


def test_it_goes_with_its_process(tmp_path):
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path / ".lock", there))
    child.start()
    assert here.recv()
    with pytest.raises(BusyError), locked(tmp_path / ".lock"):
        pass
    child.kill()
    child.join()
    with locked(tmp_path / ".lock") as held:
        assert held


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_file_systems_without_locks(tmp_path, monkeypatch, number):
    def none(descriptor, operation):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with locked(tmp_path / ".lock") as held:
        assert not held


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), locked(tmp_path / ".lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
