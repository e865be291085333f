"""The first import of programs, also for Python 3.8: if Python is too old or a package is missing, say what to type.

From then on the project's modules run when they are first used (`system.late`).
"""

import os
import shlex
import signal
import sys
from pathlib import Path

LEAST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UPGRADE = f"{sys.executable} -m pip install --upgrade image-workshop"  # of the installed package
PYTHON = VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


def guard() -> None:
    """Exit with status 2 if Python is too old, and later if a package is missing; make Ctrl-C exit with 130 at once."""
    if sys.version_info < LEAST:
        _end("Python {}.{} or later is needed".format(*LEAST))
    from system import late  # only now: it is not for older Pythons

    late.install()
    sys.excepthook = _explain
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent process ignores it
        signal.signal(signal.SIGINT, _quit)


def begin() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, so that work can be cleaned up."""
    if signal.getsignal(signal.SIGINT) is _quit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_program() -> bool:
    """Whether this process runs a script or a module of this project."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)  # "-m": while Python looks for the module
    return sys.argv[:1] == ["-m"] or (file is not None and Path(file).resolve().parent == ROOT)


def _explain(kind: "type[BaseException]", error: BaseException, trace: object) -> None:
    """Replace `sys.excepthook`: explain a missing package, and print the traceback of any other exception."""
    name = error.name.partition(".")[0] if isinstance(error, ImportError) and error.name else ""
    ours = name == __name__.partition(".")[0] or (ROOT / name).exists()
    if name and name not in sys.stdlib_module_names and not ours:
        _end(f"the package {name} is missing or too old")
    sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]


def _quit(number: int, frame: object) -> None:
    """Exit at once: an exception during an import may be swallowed, or printed as a traceback."""
    os._exit(128 + number)


def _end(reason: str) -> None:
    lines = ["Error: {}. This is Python {}.{}.{}, {}. Type:".format(reason, *sys.version_info[:3], sys.executable)]
    sys.stderr.write("\n    ".join([*lines, *(_remedy() if (ROOT / "pyproject.toml").exists() else [UPGRADE])]) + "\n")
    raise SystemExit(2)


def _remedy() -> "list[str]":
    """What to type in a checkout."""
    lines = []
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    typed = " ".join(word if os.name == "nt" else shlex.quote(word) for word in getattr(sys, "orig_argv", [])[1:])
    if inside and sys.version_info >= LEAST:
        lines.append("{} -m pip install -r {}".format(PYTHON, ROOT / "requirements.txt"))
    elif inside or not PYTHON.exists():
        lines.append(f"make -C {ROOT} install    (or see docs/installation.md)")
    return [*lines, f"{PYTHON} {typed}" if typed else "source {}".format(VENV / "bin" / "activate")]


if is_program():
    guard()
