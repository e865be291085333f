"""Commands and pictures of the documents, as a reader would copy them."""

import ast
import copy
import importlib
import re
import shlex
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import click

from models.families import NetworkFile, read_network
from tests.networks import save_noisy
from torch_utils.cli import Command

ROOT = Path(__file__).parents[1]
RECORDS = {"gpu.md"}  # written by a program, with the commands that it ran
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), ROOT / "assets" / "README.md"]
    + [path for path in (ROOT / "docs").glob("*.md") if path.name not in RECORDS]
)
PROGRAMS = ("python ", "torchrun ")
BUNDLED = ROOT / "assets" / "faces64.safetensors"
DENOISERS = re.compile(r"\bdit\b|dit-|adm")  # in the names of networks that are no StyleGAN2


@cache
def standing_in(denoiser: bool) -> NetworkFile:
    """A network of the kind that a place in a document holds."""
    if not denoiser:
        return read_network(BUNDLED)
    with tempfile.TemporaryDirectory() as folder:
        return read_network(save_noisy(Path(folder) / "dit.safetensors", classes=5))


def blocks(path: Path) -> list[str]:
    """The commands in blocks of code, a line each, without the comments behind them."""
    found, fenced = [], False
    for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and line.strip().startswith(PROGRAMS):
            found.append(" ".join(shlex.quote(word) for word in shlex.split(line, comments=True)))
    return found


def mentions(path: Path) -> list[str]:
    """Commands within sentences."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S).replace("\n", " ")
    return [code for code in re.findall(r"`([^`]+)`", text) if code.startswith(PROGRAMS) and ".py " in code + " "]


def program(command: str) -> tuple[click.Command, list[str]]:
    """The command of click that a command line calls, and its arguments."""
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = ["python", *words[next(i for i, word in enumerate(words) if word.endswith(".py")) :]]
    if words[1] != "-m":
        return importlib.import_module(words[1].removesuffix(".py")).main, words[2:]
    module = importlib.import_module(words[2])
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{words[2]}.__main__")
    return module.main, words[3:]


def check(command: str) -> None:
    """Raises click's UsageError if a script does not take these options and values; runs nothing.

    The networks and runs that commands name are not there: each network counts as a StyleGAN2, or as a DiT if its name
    says so.

    Of other programs only the code after `python -c` is looked at: SyntaxError says that it is none.
    """
    words = shlex.split(command)
    if words[1:2] == ["-c"]:
        ast.parse(words[2])
        return
    if words[1:3] in (["-m", "pytest"], ["-m", "http.server"]):
        return
    main, words = program(command)
    if isinstance(main, click.Group):
        group = click.Context(main, info_name="program")
        main.parse_args(group, list(words))
        name = words[0] if words[:1] and words[0] in main.commands else getattr(main, "default", "")
        main, words = main.commands[name], words[words[:1] == [name] :]
    if isinstance(main, Command) and main.more:
        main = copy.copy(main)
        learn: Any = main.more
        elsewhere = dict.fromkeys(("resume", "transfer"))
        main.more = lambda values: learn({**values, **elsewhere})  # runs and networks of the reader's own
    with mock.patch("sampling.command.read_network", lambda place: standing_in(bool(DENOISERS.search(str(place))))):
        main.make_context("program", list(words))


def examples(command: click.Command) -> list[str]:
    """The commands among the examples of a help text, without the words behind them."""
    lines = (line.strip() for line in (command.epilog or "").splitlines())
    return [re.split(r"\s{2,}", line)[0] for line in lines if line.startswith(PROGRAMS)]
