"""What every program imports first: where Python or a package is missing, it ends with the command to type instead.

A program is what a user starts: a script such as `generate.py`, or `python -m training.report`. Elsewhere, in a test or
a notebook that imports a script, this file does nothing. Python 3.6 can read it, so that an old Python says so itself,
and it costs no time: packages are looked at only when a program has failed.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

LEAST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


def guard() -> None:
    """Ends this program with status 2 if Python is too old, later if a package is, and with 130 at once by Ctrl-C."""
    if sys.version_info < LEAST:
        _end("Python {}.{} or later is needed".format(*LEAST), _new_environment() if _in_venv() else [])
    sys.excepthook = _explain
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, _quit)


def begin() -> None:
    """Lets Ctrl-C raise KeyboardInterrupt from here on, since there is work to put in order."""
    if signal.getsignal(signal.SIGINT) is _quit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_program() -> bool:
    """Whether this process runs a script of this project, or is about to run one of its modules with `-m`."""
    if sys.argv[:1] == ["-m"]:  # as long as Python looks for the module
        return True
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file is not None and Path(file).resolve().parent == ROOT


def unmet() -> str:
    """What is missing or too old: `torch>=2.11 and 3 more packages are missing or too old`; "" if nothing is."""
    import tomllib
    from importlib import metadata

    lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lacking = []
    for line in lines:
        name, _, least = line.partition(">=")
        try:
            if _numbers(metadata.version(name)) < _numbers(least):
                lacking.append(line)
        except metadata.PackageNotFoundError:
            lacking.append(line)
    if len(lacking) > 1:
        return f"{lacking[0]} and {len(lacking) - 1} more packages are missing or too old"
    return f"{lacking[0]} is missing or too old" if lacking else ""


def _explain(kind: "type[BaseException]", error: BaseException, trace: object) -> None:
    """Takes the place of `sys.excepthook`: an exception that nobody caught, on its way to a traceback."""
    reason = ""
    if isinstance(error, Exception):
        try:
            reason = unmet()
        except OSError:  # a copy of the scripts without pyproject.toml
            name = error.name if isinstance(error, ImportError) else None
            reason = f"the package {name} is missing" if name and name not in sys.stdlib_module_names else ""
    if reason:
        _end(reason, [])
    sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]


def _quit(number: int, frame: object) -> None:
    """Ends the process at once: while packages are imported, an exception may be swallowed, or told in a traceback."""
    os._exit(128 + number)


def _end(reason: str, commands: "list[str]") -> None:
    """Prints what is wrong and what to type, and ends with status 2.

    Args:
        reason: what is wrong.
        commands: what mends it; without any, what leads to the virtual environment, or fills it.
    """
    typed, activate = _typed(), "source " + _shown(VENV / "bin" / "activate")
    again = [_shown(PYTHON) + " " + typed if typed else activate]
    if not commands and (_in_venv() or not PYTHON.exists()):
        commands = _installation()
    elif not commands and typed and os.name != "nt":
        again += ["or, once in each terminal:", activate]
    lines = ["Error: {}. This is Python {}.{}.{}, {}. Type:".format(reason, *sys.version_info[:3], sys.executable)]
    lines += [line if line.endswith(":") else "    " + line for line in commands + again]
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(2)


def _installation() -> "list[str]":
    """The commands that install the packages where this program is to run."""
    if _in_venv():
        return [_shown(PYTHON) + " -m pip install -r " + _shown(ROOT / "requirements.txt")]
    return _new_environment()


def _new_environment() -> "list[str]":
    """The commands that make the virtual environment, with a Python that is new enough if this machine has one."""
    if os.name == "nt":
        return ["py -m venv .venv", ".venv\\Scripts\\python -m pip install -r requirements.txt"]
    commands = ["rm -r " + _shown(VENV)] if VENV.exists() else []  # an unfit one
    here = "" if Path.cwd() == ROOT else " -C " + _shown(ROOT)
    if sys.version_info >= LEAST:
        return [*commands, "make" + here + " install"]
    names = [f"python{LEAST[0]}.{minor}" for minor in range(LEAST[1] + 9, LEAST[1] - 1, -1)]
    newer = next((name for name in names if _starts(name)), "python{}.{}".format(*LEAST))
    if not _starts(newer):
        commands = ["first, install Python {}.{} or later; then:".format(*LEAST), *commands]
    return [*commands, "make" + here + " install PYTHON=" + newer]


def _starts(name: str) -> bool:
    """Whether a Python of this name is there and starts: version managers leave names that only print a sentence."""
    silent = subprocess.DEVNULL
    return shutil.which(name) is not None and subprocess.call([name, "-c", ""], stdout=silent, stderr=silent) == 0


def _typed() -> str:
    """What was typed after `python`; "" where this Python does not know."""
    if sys.argv[:1] == ["-m"] and not hasattr(sys, "orig_argv"):
        return ""
    words = getattr(sys, "orig_argv", ["", *sys.argv])[1:]
    return " ".join(word if os.name == "nt" else shlex.quote(word) for word in words)


def _shown(path: Path) -> str:
    """A path as it can be typed in the working folder, the shorter way."""
    try:
        near = os.path.relpath(str(path))
    except ValueError:  # another drive
        near = str(path)
    shorter = near if len(near) < len(str(path)) else str(path)
    return shorter if os.name == "nt" else shlex.quote(shorter)


def _in_venv() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()


def _numbers(version: str) -> "list[int]":
    """2.13.0+cpu -> [2, 13, 0]."""
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


if is_program():
    guard()
