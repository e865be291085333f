"""What scripts refuse alike: options that do not apply, which are never ignored, and films that cannot be."""

from collections.abc import Iterable
from pathlib import Path

import click
from click.core import ParameterSource

from imaging.film import check_film


def given() -> dict[str, str]:
    """The options that the command line of the running script gives: the name of each value -> its flag."""
    context = click.get_current_context()
    flags = {param.name or "": param.opts[0] for param in context.command.params}
    return {n: flag for n, flag in flags.items() if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}


def refuse(names: Iterable[str], why: str) -> None:
    """Raises ValueError when one of these values is given: `--fps does not apply without --film: leave it out`."""
    flags = given()
    for name in names:
        if name in flags:
            raise ValueError(f"{flags[name]} does not apply {why}: leave it out")


def check_film_name(film: str, outdir: Path) -> None:
    """Raises ValueError when --film is no name alone, or no film can be written so in --outdir."""
    if Path(film).name != film or film == "..":
        raise ValueError(f"--film {film}: it lies in --outdir, so give its name alone")
    check_film(outdir / film, "--film")
