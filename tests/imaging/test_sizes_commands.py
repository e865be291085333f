"""Commands in messages: run as they are printed, in the working folder, by a shell."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imaging.dataset import DataConfig, open_dataset
from imaging.sizes import conversion
from tests.imaging.pictures import picture, write_folder

FILES = {"0.png": picture(32, 16), "1.png": picture(100, 90)}


@pytest.mark.parametrize(("name", "inside"), [('it\'s $HOME `x` "y"', False), ("猫 100%", True)])
def test_the_command_makes_a_set_that_can_be_trained_on(tmp_path, monkeypatch, name, inside):
    folder = write_folder(tmp_path / "there" / name, FILES)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(folder if inside else tmp_path / "here")
    source = "." if inside else os.path.relpath(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError) as error:
        open_dataset(DataConfig(path=source))
    command = str(error.value).partition("make them one size with `")[2].rpartition("`")[0]
    words = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = list((tmp_path / "there" if inside else tmp_path / "here").glob("*.zip"))
    assert len(made) == 1 and len(open_dataset(DataConfig(path=str(made[0])))) == 2
    assert sorted(folder.iterdir()) == before, "nothing is written into the source"


def test_the_tool_is_found_from_anywhere(tmp_path, monkeypatch):
    root = Path(conversion.__code__.co_filename).parents[1]
    monkeypatch.chdir(root)
    assert conversion("x.zip", "8x8").startswith("python dataset_tool.py --source x.zip ")
    monkeypatch.chdir(root / "docs")
    assert conversion("x.zip", "8x8").startswith("python ../dataset_tool.py --source x.zip ")


def test_passwords_are_not_printed():
    told = conversion("https://me:secret@host/faces-{00..99}.tar", "8x8", "-%06d.tar")
    assert "secret" not in told and " --dest faces-8x8-%06d.tar" in told
