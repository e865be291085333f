"""The wheel: built, installed into an environment that holds its declared dependencies alone, and used there."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

import generate
from image_workshop import __main__ as program
from image_workshop.onepackage import names, rewritten

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("tests/", "benchmarks/", "docs/")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"


def run(*words: str | Path, cwd: Path, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def sources() -> list[str]:
    """The files of the checkout that are or may be committed."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    return [name for name in listed if not name.startswith(LEFT_OUT) and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel, made of a source distribution, made of a copy of the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    for name in sources():
        (place / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / "checkout" / name)
    packed = run(sys.executable, "-c", BUILD.format("sdist"), place, cwd=place / "checkout").splitlines()[-1]
    with tarfile.open(place / packed) as archive:
        archive.extractall(place / "sources", filter="data")
    (unpacked,) = (place / "sources").iterdir()
    return place / run(sys.executable, "-c", BUILD.format("wheel"), place, cwd=unpacked).splitlines()[-1]


def dependencies(name: str, found: set[str]) -> set[str]:
    """The distributions that one requires without extras, and those that they require in turn."""
    for requirement in importlib.metadata.requires(name) or []:
        other = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()
        if "extra ==" not in requirement and other not in found and any(importlib.metadata.distributions(name=other)):
            found.add(other)
            dependencies(other, found)
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """The folder of programs of an environment with the wheel. Its dependencies are links to those of this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", place / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=place)
    (packages,) = place.glob("lib/python*/site-packages")
    sys.path.append(str(packages))
    importlib.invalidate_caches()
    try:
        needed = dependencies("image-workshop", set())
    finally:
        sys.path.remove(str(packages))
    for name in needed:
        distribution = importlib.metadata.distribution(name)
        tops = {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            source = Path(str(distribution.locate_file(top)))
            if not (packages / top).exists():
                (packages / top).symlink_to(source)
    return place / "bin"


def test_every_subcommand_runs_where_the_wheel_is_installed(environment, tmp_path, monkeypatch):
    smoke = ROOT / "tests" / "wheelsmoke.py"
    cache = os.environ.get("TORCH_EXTENSIONS_DIR", os.path.expanduser("~/.cache/torch_extensions"))  # noqa: PTH111
    said = run(environment / "python", "-P", smoke, cwd=tmp_path, TORCH_EXTENSIONS_DIR=cache)
    assert said.endswith("all subcommands ran\n")
    monkeypatch.chdir(tmp_path)
    network = ROOT / "assets" / "faces64.safetensors"
    words = ["--network", str(network), "--seeds", "0,1", "--psi", "0.7", "--outdir", "checkout"]
    assert CliRunner().invoke(generate.main, words).exit_code == 0
    for ours, theirs in (("seed0000", "pictures/a"), ("seed0001", "out/seed0001")):
        assert Path(f"checkout/{ours}.png").read_bytes() == Path(f"{theirs}.png").read_bytes()


def test_the_command_lists_its_subcommands_without_pytorch(environment, tmp_path):
    said = run(environment / "image-workshop", "--help", cwd=tmp_path)
    assert [line.split()[0].replace("-", "_") for line in said.splitlines() if line.startswith("  ")] == [
        *program.SCRIPTS
    ]
    code = (
        "import sys; from image_workshop.__main__ import main; sys.argv[1:] = []; main(); print('torch' in sys.modules)"
    )
    assert run(environment / "python", "-c", code, cwd=tmp_path).endswith("\nFalse\n")


def test_a_subcommand_has_its_own_name_in_its_help(environment, tmp_path):
    said = run(environment / "image-workshop", "style_mixing", "--help", cwd=tmp_path)
    assert said.startswith("Usage: image-workshop style-mixing [OPTIONS]")
    assert "\n  image-workshop style-mixing --rows 85" in said and "python " not in said


def test_an_unknown_subcommand_is_refused_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["image-workshop", "paint"])
    monkeypatch.setattr(program.start, "guard", lambda: None)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Error: there is no command 'paint': give one of train, generate,")


def imports(text: str) -> list[str]:
    """Every module that a text imports."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not rewritten"
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [each.name for each in node.names]
    return found


def test_every_import_of_a_room_is_rewritten_and_no_other(monkeypatch):
    monkeypatch.chdir(ROOT)
    rooms, scripts = names()
    ours, count = {*rooms, *scripts}, 0
    assert set(program.SCRIPTS) == set(scripts)
    files = [*(path for room in rooms for path in Path(room).rglob("*.py")), *(Path(f"{name}.py") for name in scripts)]
    modules = {".".join(path.with_suffix("").parts) for path in files if len(path.parts) > 1}
    for path in files:
        text = path.read_text()
        for old, new in zip(imports(text), imports(rewritten(text, rooms, scripts)), strict=True):
            own = old.split(".")[0] in ours
            assert new == (f"image_workshop.{old}" if own else old), path
            count += own
        assert modules.isdisjoint(re.findall(r"[\"']([\w.]+)[\"']", text)), f"{path}: a module's name in quotes"
    assert count > 700


def test_commands_in_texts_are_those_of_the_package():
    rooms, scripts = ["custom_ops"], ["train", "dataset_tool"]
    for before, after in {
        "  python train.py --gpus 8": "  image-workshop train --gpus 8",
        "convert them with dataset_tool.py, or": "convert them with image-workshop dataset-tool, or",
        "torchrun --nproc-per-node=8 train.py ...": "torchrun --nproc-per-node=8 --no-python image-workshop train ...",
        "python -m custom_ops.build": "python -m image_workshop.custom_ops.build",
        'public_command("train.py", words)': 'public_command("train.py", words)',
        "models/train.py": "models/train.py",
    }.items():
        assert rewritten(before, rooms, scripts) == after


def test_the_version_is_the_same_everywhere():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()
    first = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first and first[1] == project["version"]
    assert project["scripts"] == {project["name"]: "image_workshop.__main__:main"}
