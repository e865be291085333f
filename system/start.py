"""The first import of every program: if Python is too old or a package is missing, print the commands that help.

In other processes, such as tests, it does nothing. Packages are checked only after a program has failed, so programs do
not start more slowly. Python 3.8 must be able to parse this file.
"""

import os
import re
import shlex
import signal
import sys
from pathlib import Path

LEAST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


def guard() -> None:
    """Exit with status 2 if Python is too old, and later if a package is missing; make Ctrl-C exit with 130 at once."""
    if sys.version_info < LEAST:
        _end("Python {}.{} or later is needed".format(*LEAST))
    sys.excepthook = _explain
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent process ignores it
        signal.signal(signal.SIGINT, _quit)


def begin() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, so that work can be cleaned up."""
    if signal.getsignal(signal.SIGINT) is _quit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_program() -> bool:
    """Whether this process runs a script or a module of this project."""
    if sys.argv[:1] == ["-m"]:  # while Python looks for the module
        return True
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file is not None and Path(file).resolve().parent == ROOT


def unmet() -> str:
    """Return `torch>=2.11 and 3 more packages are missing or too old`; "" if all packages are installed."""
    import tomllib
    from importlib import metadata

    lacking = []
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]:
        name, _, least = line.partition(">=")
        try:
            if _numbers(metadata.version(name)) < _numbers(least):
                lacking.append(line)
        except metadata.PackageNotFoundError:
            lacking.append(line)
    if len(lacking) > 1:
        return f"{lacking[0]} and {len(lacking) - 1} more package{'s' * (len(lacking) > 2)} are missing or too old"
    return f"{lacking[0]} is missing or too old" if lacking else ""


def _explain(kind: "type[BaseException]", error: BaseException, trace: object) -> None:
    """Replace `sys.excepthook`: explain missing packages, and print the traceback of any other exception."""
    if isinstance(error, Exception) and (ROOT / "pyproject.toml").exists() and (reason := unmet()):
        _end(reason)
    sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]


def _quit(number: int, frame: object) -> None:
    """Exit at once: an exception during an import may be swallowed, or printed as a traceback."""
    os._exit(128 + number)


def _end(reason: str) -> None:
    """Print the reason and the commands to type, and exit with status 2."""
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    typed = " ".join(word if os.name == "nt" else shlex.quote(word) for word in getattr(sys, "orig_argv", [])[1:])
    lines = ["Error: {}. This is Python {}.{}.{}, {}. Type:".format(reason, *sys.version_info[:3], sys.executable)]
    if inside and sys.version_info >= LEAST:
        lines.append("{} -m pip install -r {}".format(PYTHON, ROOT / "requirements.txt"))
    elif inside or not PYTHON.exists():
        lines.append(f"make -C {ROOT} install    (or see docs/installation.md)")
    lines.append(f"{PYTHON} {typed}" if typed else "source {}".format(VENV / "bin" / "activate"))
    sys.stderr.write("\n    ".join(lines) + "\n")
    raise SystemExit(2)


def _numbers(version: str) -> "list[int]":
    """2.13.0+cpu -> [2, 13, 0]."""
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


if is_program():
    guard()
