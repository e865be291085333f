"""Options that do not apply are refused, never ignored."""

from collections.abc import Iterable

import click
from click.core import ParameterSource


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
