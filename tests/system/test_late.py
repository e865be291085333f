"""Late imports: what --help and a wrong option run, and modules that run once, when they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "hubconf.py")
HEAVY = ("torch._C", "scipy", "av", "tensorboard", "onnxruntime")

RUN = f"""
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr, sep=",", end="|")
"""


def imported(*words: str) -> tuple[int, str]:
    """The exit status of a command line, and which of `HEAVY` it imported."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr.rpartition("|")[0].rpartition("\n")[2]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_imports_no_pytorch(script):
    assert imported(script, "--help") == (0, "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_option_imports_no_pytorch(script):
    assert imported(script, "--no-such-option") == (2, "")


@pytest.mark.parametrize(
    "words",
    [
        ("train.py", "--model", "dit-s/2"),
        ("train.py", "--model", "adain"),
        ("generate.py", "--network", "assets/faces32-dit.safetensors"),
        ("evaluate.py", "--network", "assets/faces64.safetensors"),
        ("dataset_tool.py", "inspect"),
    ],
)
def test_help_of_a_model_or_network_imports_no_pytorch(words):
    assert imported(*words, "--help") == (0, "")


LATE = """
import sys
sys.path.insert(0, {root!r})
from system import late
late.ROOT = late.Path({here!r})
late.install()
sys.path.insert(0, {here!r})
"""


def late(tmp_path: Path, code: str) -> str:
    """What a program prints that imports late, with the package `room` of `tmp_path`."""
    start = LATE.format(root=str(ROOT), here=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
    return done.stdout + done.stderr.rpartition("\n")[0].rpartition("\n")[2]


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text("")
    (tmp_path / "room" / "one.py").write_text("print('one runs')\nvalue = 1\n")
    (tmp_path / "room" / "two.py").write_text("from room import one\ndef value(): return one.value + 1\n")
    return tmp_path


def test_a_module_runs_once_when_it_is_used(room):
    code = "from room import one, two\nprint('imported')\nprint(two.value())\nprint(one.value, type(one).__name__)"
    assert late(room, code).split("\n") == ["imported", "one runs", "2", "1 module", ""]


def test_a_name_from_a_module_runs_it_at_once(room):
    assert late(room, "from room.one import value\nprint('imported')").startswith("one runs\nimported")


def test_threads_wait_for_a_module_that_runs(room):
    (room / "room" / "one.py").write_text("import time\ntime.sleep(0.2)\nvalue = 1\n")
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nfrom room import one\n"
        "with ThreadPoolExecutor(8) as pool: print(sum(pool.map(lambda _: one.value, range(8))))"
    )
    assert late(room, code) == "8\n"


def test_an_error_of_a_module_comes_again(room):
    (room / "room" / "one.py").write_text("raise ValueError('no')\n")
    code = "from room import one\nfor _ in range(2):\n    try: one.value\n    except ValueError as error: print(error)"
    assert late(room, code) == "no\nno\n"


@pytest.mark.parametrize("first", ["import torch.nn.functional", "from torch.nn import functional", "torch.ones(2)"])
def test_pytorch_runs_once_however_it_is_first_used(first):
    code = f"import torch\nassert 'torch._C' not in sys.modules\n{first}\nimport torch.nn.functional as F\n"
    code += "print(torch.nn.functional is F, sys.modules['torch.nn'] is torch.nn, torch.nn.__spec__.loader is not None)"
    code += "\nprint(float(torch.nn.Linear(2, 2)(torch.ones(2)).detach().isfinite().all()), type(torch).__name__)"
    start = LATE.format(root=str(ROOT), here=str(ROOT))
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True True True\n1.0 module\n", 0), done.stderr


def test_looking_at_all_modules_runs_none(room):
    code = "from room import one\nimport inspect\n[inspect.getmodule(f.frame) for f in inspect.stack()]\n"
    code += "print(isinstance(one, type), hasattr(one, '__file__'), one.__name__)\none.value"
    assert late(room, code) == "False True room.one\none runs\n"
