"""A cache folder for every user, also one without a name or a home."""

import os
import tempfile
from pathlib import Path

import pytest

from system.resources import FOLDER, cache_folder, private_folder


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def homeless(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: (_ for _ in ()).throw(KeyError(number)))


def test_it_is_in_the_home_folder_or_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / FOLDER
    monkeypatch.setenv("XDG_CACHE_HOME", "~/mine")
    assert cache_folder() == tmp_path / "mine" / FOLDER
    assert not list(tmp_path.iterdir())


def test_without_a_home_it_is_private(monkeypatch, tmp_path):
    homeless(monkeypatch)
    assert cache_folder() == tmp_path / f"{FOLDER}-{os.getuid()}"
    assert (tmp_path / f"{FOLDER}-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_so_it_is_where_the_home_cannot_be_written(monkeypatch, tmp_path):
    """As in containers, where a user without a name has the home /."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home)
    assert cache_folder() == tmp_path / f"{FOLDER}-{os.getuid()}"
    (home / ".cache" / FOLDER).mkdir(parents=True)  # somebody has filled it: it can be read
    assert cache_folder() == home / ".cache" / FOLDER


@pytest.mark.parametrize("fault", ["link", "file", "open"])
def test_a_folder_of_somebody_else_is_not_taken(monkeypatch, tmp_path, fault):
    homeless(monkeypatch)
    place, other = tmp_path / f"{FOLDER}-{os.getuid()}", tmp_path / "other"
    other.mkdir(mode=0o700)
    {"link": lambda: place.symlink_to(other), "file": place.touch, "open": place.mkdir}[fault]()
    place.chmod(0o777)
    with pytest.raises(PermissionError):
        private_folder(FOLDER)
    with pytest.raises(ValueError, match=r"set XDG_CACHE_HOME to a writable folder$"):
        cache_folder()


def test_windows_knows_no_user_numbers(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "getuid")
    assert private_folder("x") == tmp_path / "x" and (tmp_path / "x").is_dir()
    assert private_folder("x") == tmp_path / "x"
