import os
from pathlib import Path

import pytest

from torch_utils.paths import check_folder


def test_folders_that_are_there_or_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "new" / "deep", Path("new/deep"), Path()):
        check_folder(folder, "--outdir new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", [".", "deep/er"])
def test_files_are_no_folders(tmp_path, monkeypatch, below):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(ValueError) as error:
        check_folder(Path("taken", below), "--outdir x")
    assert str(error.value) == "--outdir x needs a folder, and taken is a file: choose another path"


def test_folders_that_are_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # the tests may run as root, who may all
    with pytest.raises(ValueError) as error:
        check_folder(tmp_path / "new", "--outdir new")
    assert str(error.value) == (
        f"--outdir new needs a folder to write to, and {tmp_path} is read-only: choose another path"
    )
