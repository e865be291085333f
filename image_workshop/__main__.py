"""The command `image-workshop`: every script of the checkout as a subcommand."""

import ast
import importlib
import re
import sys

from system import start

PREFIX = start.__name__.rpartition("system")[0]  # "image_workshop." where the package is installed
SCRIPTS = (
    *("train", "generate", "explore", "style_mixing", "truncation", "interpolate", "project", "directions"),
    *("stylize", "evaluate", "convert", "blend", "dataset_tool"),
)
HEAD = """Usage: image-workshop COMMAND [OPTIONS]

Commands, each with its own --help:
"""


def main() -> None:
    """Run the subcommand that the first argument names; without one, or with --help, list all of them."""
    start.guard()
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        rows = (f"  {_spelled(script):14}  {_purpose(script)}" for script in SCRIPTS)
        print("\n".join([HEAD, *rows]))
        return
    if (script := name.replace("-", "_")) not in SCRIPTS:
        sys.stderr.write(f"Error: there is no command {name!r}: give one of {', '.join(map(_spelled, SCRIPTS))}\n")
        raise SystemExit(2)
    module = importlib.import_module(f"{PREFIX}{script}")
    sys.argv = [str(module.__file__), *rest]  # what `--gpus` starts again
    module.main(prog_name=f"image-workshop {_spelled(script)}")


def _spelled(script: str) -> str:
    return script.replace("_", "-")


def _purpose(script: str) -> str:
    """The first words of a script, which is read but not imported: the list appears at once."""
    text = (start.ROOT / f"{script}.py").read_text(encoding="utf-8")
    return re.split(r"[:.]", ast.get_docstring(ast.parse(text)) or "")[0]


if __name__ == "__main__":
    main()
