"""Files and folders of any name are read, trained on, and written to, whatever the terminal can show."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import convert
import dataset_tool
import evaluate
import generate
import train
from tests.commands import picture, tiny_sets
from tests.networks import ON_CPU
from training import session

NAMES = {
    "Chinese": "猫",
    "control characters": "a\x1b]0;owned\x07\nb",
    "a bidi override": "\u202egnp",
}


CHARSETS = dict(zip(NAMES, ("cp1252", "ascii", "cp1252"), strict=True))


@pytest.fixture(params=NAMES)
def name(request, tmp_path, monkeypatch):
    """A name, and the working folder with a folder of pictures of that name."""
    monkeypatch.chdir(tmp_path)
    name = NAMES[request.param]
    try:
        Path(name).mkdir()
    except OSError:
        pytest.skip("this disk has no such names")
    for i in range(8):
        picture(value=i * 20).save(Path(name, f"{i}.png"))
    return name


def run(script, *arguments: str, charset: str = "utf-8") -> str:
    """What a script prints on a terminal of that character set. It succeeds."""
    result = CliRunner(charset=charset).invoke(script.main, arguments, catch_exceptions=False)
    said = result.output_bytes.decode(charset)
    assert result.exit_code == 0, said
    assert not any(letter in said for letter in "\x1b\x07\u202e"), said
    return said


def test_a_run_is_trained_resumed_and_judged(name):
    charset = next(CHARSETS[kind] for kind in NAMES if NAMES[kind] == name)
    sets = tiny_sets(pace__kimg=0.004)
    run(train, "--data", name, "--outdir", f"{name}/runs", *sets, charset=charset)
    (folder,) = Path(name, "runs").iterdir()
    run(train, "--resume", str(folder), "--kimg", "0.008", charset=charset)
    assert "resumed at kimg 0.004" in (folder / "log.txt").read_text(encoding="utf-8")
    assert (folder / "report.html").read_text(encoding="utf-8") and list(folder.glob("events*"))
    said = run(evaluate, "--network", str(folder), "--metrics", "swd8", *ON_CPU[:2], charset=charset)
    assert "swd8" in said and "swd8" in (folder / "metrics.jsonl").read_text(encoding="utf-8")


def test_a_run_that_fails_before_its_first_step_leaves_no_folder(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    arguments = ["--data", "demo:16", "--outdir", str(tmp_path / "runs"), *tiny_sets(pace__kimg=0.004)]
    monkeypatch.setattr(session, "save_image", full)
    result = CliRunner().invoke(train.main, arguments)
    assert result.exit_code == 2 and result.output.endswith(
        "Error: no space left to write: free some, then start again\n"
    )
    assert not list((tmp_path / "runs").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(session, "fit", full)
    assert CliRunner().invoke(train.main, arguments).exit_code == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert "No space left on device" in (folder / "log.txt").read_text()


def test_names_that_are_not_utf8_are_refused():
    result = CliRunner().invoke(generate.main, ["--outdir", os.fsdecode(b"r\xe9sum\xe9")])
    assert result.exit_code == 2 and result.output.endswith(
        "Error: names of files and folders must be UTF-8: rename them\n"
    )


def test_pictures_and_networks_are_written(name):
    run(dataset_tool, "--source", name, "--dest", f"{name}.zip")
    run(dataset_tool, "inspect", f"{name}.zip")
    run(train, "--data", f"{name}.zip", "--outdir", "runs", *tiny_sets(pace__kimg=0.004))
    run(convert, "--source", str(next(Path("runs").iterdir())), "--dest", f"{name}.safetensors")
    run(generate, "--network", f"{name}.safetensors", "--seeds", "0", "--outdir", f"{name}/out", *ON_CPU)
    record = json.loads(Path(name, "out", "generate.json").read_text(encoding="utf-8"))
    assert record["network"] == f"{name}.safetensors" and sys.getfilesystemencoding() == "utf-8"
