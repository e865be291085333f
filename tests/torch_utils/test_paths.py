import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from system.files import check_folder
from torch_utils.cli import Command, expand_home, option


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


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("~/x", "HOME/x"),
        ("~", "HOME"),
        ("--outdir=~/x", "--outdir=HOME/x"),
        ("--outdir=~", "--outdir=HOME"),
        ("inception=~/a.pt", "inception=HOME/a.pt"),
        ("--detector=inception=~/a.pt", "--detector=inception=HOME/a.pt"),
        ("~/a.png,b.png,~/c.png", "HOME/a.png,b.png,HOME/c.png"),
        ("data.path=~/x-{0..9}.tar", "data.path=HOME/x-{0..9}.tar"),
        ("./~", "./~"),
        ("a~/b", "a~/b"),
        ("~~", "~~"),
        ("https://host/?a=~/b", "https://host/?a=~/b"),
    ],
)
def test_the_home_folder_may_be_meant_wherever_a_path_begins(home, argument, meant):
    assert expand_home(argument) == meant.replace("HOME", str(home))


def test_scripts_expand_their_arguments(home):
    found = {}

    @click.command(cls=Command)
    @option("--outdir", type=click.Path(path_type=Path), group="Output")
    def main(**params):
        found.update(params)

    assert CliRunner().invoke(main, ["--outdir=~/x"]).exit_code == 0
    assert found == {"outdir": home / "x"}


@pytest.mark.parametrize("place", ["s3://bucket/x", "HTTPS://user:secret@host/a/b", "hf:/user/name"])
def test_a_url_is_no_folder_to_write_to(place):
    with pytest.raises(ValueError, match=r"^--outdir x is a URL: files are written to this machine only"):
        check_folder(Path(place), "--outdir x")
