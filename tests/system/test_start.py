"""Without its packages, or with an old Python, every program says what to type; Ctrl-C while it starts is quiet."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "hubconf.py")
ROOMS = sorted(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
PROGRAMS = [path for room in ROOMS for path in room.rglob("*.py") if 'if __name__ == "__main__":' in path.read_text()]
BARE = [sys.executable, "-S"]  # without the folder of installed packages


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=60)


def refused(*words: str, cwd: Path = ROOT) -> str:
    """The sentence and the commands of a program that cannot start."""
    done = run(*words, cwd=cwd)
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout in which `generate.py` comes as far as it needs the first package."""
    shutil.copytree(ROOT / "system", tmp_path / "system")
    for name in ("generate.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def environment(checkout) -> Path:
    """Such a checkout with a virtual environment."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").touch()
    return checkout


@pytest.mark.parametrize("path", [ROOT / script for script in SCRIPTS] + PROGRAMS, ids=lambda path: path.name)
def test_every_program_begins_with_the_guard(path):
    """Its first import is `system.start`, in the script or in the `__init__.py` of its room."""
    if path.name != "gpu.py":  # which needs no package: it calls the programs that do
        first = path if path.parent == ROOT else ROOT / path.relative_to(ROOT).parts[0] / "__init__.py"
        lines = [line for line in first.read_text().splitlines() if line.startswith(("import ", "from "))]
        lines = [line for line in lines if line != "from __future__ import annotations"]
        assert lines[0].startswith("import system.start"), first


@pytest.mark.parametrize("program", [["generate.py"], ["-m", "training.report"]], ids=str)
def test_a_program_says_what_to_type_where_packages_are_missing(program):
    text = refused(*BARE, *program, "--help")
    assert re.match(r"Error: the package \w+ is missing or too old\. ", text)
    assert text.rstrip().splitlines()[1:]  # commands
    assert f"python -S {shlex.join(program)} --help" in text or "pip install -r" in text


@pytest.mark.parametrize("script", [*SCRIPTS, "system/start.py", *(f"{room.name}/__init__.py" for room in ROOMS)])
def test_an_old_python_can_read_what_it_meets(script):
    ast.parse((ROOT / script).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("made", [True, False])
def test_the_command_runs_in_the_virtual_environment_which_is_made_if_missing(environment, made):
    python = environment / ".venv" / "bin" / "python"
    if not made:
        shutil.rmtree(environment / ".venv")
    text = refused(*BARE, "generate.py", "--seeds", "0-9", "--outdir", "my pictures", cwd=environment)
    install = [] if made else [f"    make -C {environment} install    (or see docs/installation.md)"]
    assert text.splitlines()[1:] == [*install, f"    {python} -S generate.py --seeds 0-9 --outdir 'my pictures'"]


def pretend(version: tuple[int, int], checkout: Path) -> str:
    """What `generate.py --seeds 1` says where Python is another one."""
    old = (*version, 0, "final", 0)
    code = f"import sys, runpy; sys.version_info = {old}; runpy.run_path('generate.py', run_name='__main__')"
    return refused(*BARE, "-c", code, cwd=checkout)


def test_an_old_python_says_so(environment):
    text = pretend((3, 9), environment)
    assert text.startswith("Error: Python 3.11 or later is needed. This is Python 3.9.0")
    assert f"    {environment}/.venv/bin/python " in text


def test_other_errors_keep_their_traceback(checkout):
    (checkout / "click.py").write_text("1 / 0\n")
    done = run(sys.executable, "generate.py", cwd=checkout)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


INTERRUPTS = {
    "plain": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "swallowed": "class A:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n"
    "import os, signal\nA()\nimport time; time.sleep(9)",
    "turned into another error": "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
    "except KeyboardInterrupt as e:\n    raise ImportError('initialization failed') from e",
}


@pytest.mark.parametrize("how", INTERRUPTS)
def test_an_interrupt_while_packages_are_imported_is_quiet(checkout, how):
    (checkout / "click.py").write_text(INTERRUPTS[how] + "\n")
    done = run(sys.executable, "generate.py", cwd=checkout)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_whoever_imports_a_script_keeps_what_it_has():
    code = "import sys; before = sys.excepthook; import generate; assert sys.excepthook is before"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
