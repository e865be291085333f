"""dataset_tool.py when something is wrong: one sentence with the mend, exit code 2, and nothing damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import dataset_tool
from imaging.dataset import DataConfig, open_dataset
from imaging.filenames import SOURCE_KINDS
from tests.imaging.pictures import index, picture, write_folder

ROOT = Path(__file__).parents[1]


def run(*arguments):
    return CliRunner().invoke(dataset_tool.main, [str(each) for each in arguments])


def refusal(*arguments):
    """The sentence that a run ends with; there must be no traceback behind it."""
    result = run(*arguments)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path):
    source, dest = write_folder(tmp_path / "in", {"a.png": picture()}), tmp_path / "out.zip"
    dest.write_bytes(b"precious")
    assert refusal("--source", source, "--dest", dest) == (
        f"Error: --dest {dest} exists already: name another file, or add --overwrite"
    )
    assert dest.read_bytes() == b"precious"
    assert run("--source", source, "--dest", dest, "--overwrite").exit_code == 0
    assert len(open_dataset(DataConfig(path=str(dest)))) == 1


def test_a_failed_run_damages_nothing(tmp_path, monkeypatch):
    source, dest = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(3)}), tmp_path / "out.zip"
    dest.write_bytes(b"precious")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal("--source", source, "--dest", dest, "--overwrite") == (
        f"Error: no space left to write {dest}: free some, then start again"
    )
    assert dest.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.zip.partial", "in", "out.zip"]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (
            {"x.txt": b"x"},
            [],
            f"Error: {{source}} holds no images ({SOURCE_KINDS}): give a ZIP or folder with some; skipped 1 other file "
            f"(1 .txt)",
        ),
        (
            {"a.png": b"x"},
            [],
            "Error: no image of {source} can be used "
            "(1 broken: a.png cannot be decoded: not an image of a known format): give other images",
        ),
        (
            {"a.png": picture()},
            ["--resolution", "65536x65536"],
            "Error: 65536x65536 is 4295 megapixels, but at most 50 are accepted: "
            "take a smaller size, such as 1024x1024",
        ),
        (
            {"a.png": picture(16, 16), "b.png": picture(40, 30)},
            [],
            "Error: the images have different sizes, such as 16x16 (a.png) and 40x30 (b.png): "
            "give --resolution, such as 16x16 (2 of 2 are at least 16x16)",
        ),
        (
            {"a.png": picture(12, 8), "b.png": picture(40, 30), "c.png": picture(32, 32), "d.png": picture(32, 32)},
            [],
            "Error: the images have different sizes, such as 12x8 (a.png) and 40x30 (b.png): "
            "give --resolution, such as 32x32 (2 of 4 are at least 32x32)",
        ),
        (
            {"a.png": picture(), "dataset.json": index([["a.png", "x"]])},
            [],
            "Error: the label of a.png in dataset.json of {source} is 'x': "
            "labels must be class numbers 0, 1, 2, ... below 100000: correct it, or use --labels none",
        ),
    ],
)
def test_refusals(tmp_path, files, options, message):
    source = write_folder(tmp_path / "in", files)
    assert refusal("--source", source, "--dest", tmp_path / "out.zip", *options) == message.format(source=source)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("dest", "options", "message"),
    [
        ("{in}/out.zip", [], "--dest {in}/out.zip is inside --source {in}: name a place outside"),
        ("{in}", ["--overwrite"], "--dest {in} is inside --source {in}: name a place outside"),
        ("{in}/../in/x", [], "--dest {in}/../in/x is inside --source {in}: name a place outside"),
        ("{set}", [], "--dest {set} exists already and is not an empty folder: name another"),
        (
            "{set}",
            ["--overwrite"],
            "--dest {set} exists already and is not an empty folder (--overwrite replaces only files): name another",
        ),
        ("{file}", [], "--dest {file} exists already and is not an empty folder: name another"),
        (
            "{folder.zip}",
            ["--overwrite"],
            "--dest {folder.zip} is a folder, but a name in .zip means a file: choose another name",
        ),
        ("{file}/a.zip", [], "--dest {file}/a.zip needs a folder, and {file} is a file: choose another path"),
        ("{file}/b/a", [], "--dest {file}/b/a needs a folder, and {file} is a file: choose another path"),
        ("..", [], "--dest .. has no name: add the name of a ZIP or folder"),
    ],
)
def test_places_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, monkeypatch, dest, options, message):
    places = {name: str(tmp_path / name) for name in ("in", "set", "file", "folder.zip")}
    for name in ("in", "set", "folder.zip"):
        write_folder(tmp_path / name, {"a.png": picture()})
    (tmp_path / "file").touch()

    def spelled(text):
        for name, path in places.items():
            text = text.replace(f"{{{name}}}", path)
        return text

    monkeypatch.setattr(dataset_tool, "convert", None)
    assert refusal("--source", places["in"], "--dest", spelled(dest), *options) == f"Error: {spelled(message)}"


def test_a_program_that_is_terminated_leaves_nothing(tmp_path):
    source = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(3)})
    code = (
        "import sys, time, dataset_tool, imaging.transforms as transforms\n"
        "def slow(image, width, height, resample):\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "transforms.center_crop_resize = slow\n"
        "dataset_tool.main()"
    )
    arguments = ["--source", source, "--dest", tmp_path / "out.zip"]
    program = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None and program.stdout.readline() == "writing\n"
    program.terminate()
    assert program.communicate(timeout=30)[0] == "" and program.returncode == 143
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--labels", "classes"],
            "Error: --labels classes: expected auto, none, folders or a file that ends in .csv, .tsv, .json",
        ),
        (["--labels", "no.csv"], "Error: there is no no.csv: check the path"),
        (
            ["--transform", "squash"],
            "Error: --transform squash needs a target size: add --resolution, such as 256x256",
        ),
        (
            ["--transform", "center-crop-wide", "--resolution", "16x32"],
            "Error: --transform center-crop-wide needs a size that is wide, not 16x32: use center-crop-tall",
        ),
        (["--every", "2"], "Error: --every picks frames of a video, but {source} is a folder: omit it"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    source = write_folder(tmp_path / "in", {"a.png": picture()})
    assert refusal("--source", source, "--dest", tmp_path / "out.zip", *options) == message.format(source=source)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_sheet_that_is_no_picture(tmp_path):
    source = write_folder(tmp_path / "in", {"a.png": picture()})
    assert refusal("inspect", source, "--sheet", "sheet.txt") == (
        "Error: --sheet sheet.txt is not an image: its name must end in .png, .webp or .jpg"
    )
    assert refusal("inspect", tmp_path / "no") == (
        f"Error: {tmp_path / 'no'} does not exist: give a ZIP or a folder of images"
    )
