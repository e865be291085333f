"""docs/tour.ipynb, cell by cell, with its work made small."""

import ast
import json
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from image_workshop import Pictures
from image_workshop import __main__ as program

TOUR = json.loads((Path(__file__).parents[1] / "docs" / "tour.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in TOUR["cells"] if cell["cell_type"] == "code"]
SMALL = {"--steps 100": "--steps 2", "--kimg 4 --tick 1": "--kimg 0.016 --tick 0.008"}


def call(command: str, monkeypatch) -> None:
    """Run a line that a notebook gives to the shell."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    assert sys.argv[0] == "image-workshop"
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert not ended.value.code, command


def shown(cell: str, found: dict, monkeypatch) -> object:
    """Run a cell, and return the value of its last line, which a notebook shows."""
    *lines, last = cell.splitlines()
    code: list[str] = []
    for line in [*lines, "!"]:
        if line.startswith("!"):
            exec("\n".join(code), found)
            code = []
            if line != "!":
                call(line[1:].format(**found), monkeypatch)
        else:
            code.append(line)
    return eval(last, found)


def test_every_cell_runs_and_shows_a_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program.start, "guard", lambda: None)
    found: dict = {}
    for cell in CELLS:
        for large, small in SMALL.items():
            cell = cell.replace(large, small)
        assert isinstance(shown(cell, found, monkeypatch), Image.Image | Pictures), cell
    assert len(CELLS) == 6 and all(sum(key in cell for cell in CELLS) == 1 for key in SMALL)
    assert Path("my-faces/model.safetensors").is_file() and Path("projected/projected-w.npz").is_file()


def test_the_notebook_has_its_form_and_no_outputs():
    assert (TOUR["nbformat"], TOUR["nbformat_minor"]) == (4, 5)
    for cell in TOUR["cells"]:
        common = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == common | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert not cell.get("outputs") and cell.get("execution_count") is None
    for cell in CELLS:
        ast.parse("\n".join(line for line in cell.splitlines() if not line.startswith("!")))
