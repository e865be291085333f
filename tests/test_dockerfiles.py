"""The steps of the Dockerfiles, run on this machine without apt-get, and with the packages that the tests have."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from custom_ops.build import library

ROOT = Path(__file__).parents[1]


class Step(NamedTuple):
    word: str
    rest: str


def steps(name: str) -> list[Step]:
    """The instructions of a file, without comments."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return [Step(*line.split(" ", 1)) for line in lines]


def copied(context: Path) -> None:
    """What `COPY . /src` copies: the files of git without those of .dockerignore."""
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        tops = [name.split("/")[0], name]
        if (ROOT / name).is_file() and not any(Path(top).match(pattern) for top in tops for pattern in ignored):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, context / name)


class Machine:
    """Folders that stand for those of an image, and its environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.left_out = root, 0
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def here(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|src|work)\b", rf"{self.root}/\1", text)

    def do(self, step: Step) -> None:
        rest = self.here(step.rest)
        if step.word == "ENV":
            for pair in rest.split():
                name, value = pair.split("=", 1)
                self.environment[name] = value.replace("$PATH", self.environment["PATH"])
        elif step.word == "COPY" and rest == f". {self.root}/src":
            copied(self.root / "src")
        elif step.word == "COPY" and rest.startswith("--from"):
            assert all(Path(place).exists() for place in rest.split()[1:])
        elif step.word == "RUN" and rest.startswith("apt-get update && apt-get install -y"):
            self.left_out += 1
        elif step.word == "RUN" and rest.startswith("pip install") and rest.endswith("/src/requirements.txt"):
            self.left_out += 1
            (packages,) = (self.root / "opt" / "venv").glob("lib/python*/site-packages")
            for old in packages.glob("setuptools*"):  # PyTorch requires a newer one
                shutil.rmtree(old)
            (packages / "requirements.pth").write_text(sysconfig.get_paths()["purelib"])
        elif step.word == "RUN":
            self.run(["bash", "-c", rest.replace("python3 -m venv", f"{sys.executable} -m venv")])

    def run(self, words: list[str], **more: str) -> str:
        (self.root / "work").mkdir(exist_ok=True)
        done = subprocess.run(
            words, cwd=self.root / "work", env=self.environment | more,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_the_steps_end_with_a_program_that_makes_pictures(name, tmp_path):
    machine, found = Machine(tmp_path), steps(name)
    kept = next(library.roots())  # operators that are compiled already are not compiled again
    (tmp_path / "opt" / "operators").mkdir(parents=True)
    if kept.is_dir():
        shutil.copytree(kept, tmp_path / "opt" / "operators" / "custom_ops")
    for step in found:
        machine.do(step)
    assert machine.left_out == 2
    last = {word: json.loads(rest) for word, rest in found if word in ("ENTRYPOINT", "CMD")}
    program = [str(tmp_path / "opt" / "venv" / "bin" / last["ENTRYPOINT"][0])]
    assert "dataset-tool" in machine.run([*program, *last["CMD"]])
    said = machine.run([*program, "generate", "--seeds", "0"], CXX="false")  # no compiler: the operators are there
    assert "wrote 1 png file" in said and "ompil" not in said
    with Image.open(tmp_path / "work" / "out" / "seed0000.png") as image:
        assert image.size == (64, 64)


def test_the_small_image_has_the_programs_of_its_first_stage_and_no_compiler():
    found = steps("Dockerfile")
    last = max(i for i, step in enumerate(found) if step.word == "FROM")
    assert not [step for step in found[last:] if step.word == "RUN"]
    made = {words[1] for step in found[last:] if step.word == "COPY" for words in [step.rest.split()]}
    assert made == {"/opt/venv", "/opt/operators"}
    assert [s for s in found[:last] if s.word == "ENV"] == [s for s in found[last:] if s.word == "ENV"]
