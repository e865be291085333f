"""Refusals that scripts share: options that do not apply, which are never ignored, and names of films."""

from collections.abc import Iterable
from pathlib import Path

import click
from click.core import ParameterSource

from imaging.film import check_film


def given() -> dict[str, str]:
    """The options on the command line of the running script: parameter name -> flag."""
    context = click.get_current_context()
    flags = {param.name or "": param.opts[0] for param in context.command.params}
    return {n: flag for n, flag in flags.items() if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}


def refuse(names: Iterable[str], why: str) -> None:
    """Raise ValueError if one of these options is given: `--fps does not apply without --film: leave it out`."""
    flags = given()
    for name in names:
        if name in flags:
            raise ValueError(f"{flags[name]} does not apply {why}: leave it out")


def check_film_name(film: str, outdir: Path) -> None:
    """Raise ValueError unless --film is a plain name, and such a film can be written to --outdir."""
    if Path(film).name != film or film == "..":
        raise ValueError(f"--film {film}: it is written to --outdir, so give a plain name")
    check_film(outdir / film, "--film")
