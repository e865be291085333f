"""The record that is written beside the files a script makes: the command and the effective options."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch

from system.files import replacing
from system.text import public_command, public_values


def write_record(
    script: str, path: Path, facts: Mapping[str, Any] | None = None, resolved: Mapping[str, Any] | None = None
) -> None:
    """Write a JSON file that states how the files beside it were made, without the secrets of URLs.

    Args:
        script: name of the script, without its ending.
        path: the file.
        facts: further facts.
        resolved: effective values of options, which replace what was typed.
    """
    context = click.get_current_context()
    typed = {param.opts[0].lstrip("-"): context.params[param.name or ""] for param in context.command.params}
    record = {
        "command": public_command(f"{script}.py", sys.argv[1:]),
        **public_values(dict(facts or {})),
        "options": public_values({name: _plain(value) for name, value in (typed | dict(resolved or {})).items()}),
        "torch": torch.__version__,
    }
    with replacing(path) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """An option's value for JSON; seeds as on the command line."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, Path) for item in value):
        return [str(item) for item in value]
    if not (isinstance(value, list) and value and all(isinstance(item, int) for item in value)):
        return value
    ranges: list[list[int]] = []
    for seed in value:
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
