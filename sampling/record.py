"""The record that lies beside what a script made: the command and what it meant."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from system.files import replacing
from system.urls import public_command, public_values


def write_record(
    script: str, path: Path, facts: Mapping[str, Any] | None = None, resolved: Mapping[str, Any] | None = None
) -> None:
    """Write a JSON file that says how the files beside it were made, without the secrets of URLs.

    Args:
        script: name of the script, without its ending.
        path: the file.
        facts: what is worth knowing beside the command and its options.
        resolved: what options came to mean, in the place of what was given.
    """
    context = click.get_current_context()
    given = {param.opts[0].lstrip("-"): context.params[param.name or ""] for param in context.command.params}
    record = {
        "command": public_command(f"{script}.py", sys.argv[1:]),
        **public_values(dict(facts or {})),
        "options": public_values({name: _plain(value) for name, value in (given | dict(resolved or {})).items()}),
        "torch": torch.__version__,
    }
    with replacing(path) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """An option's value as JSON says it; lists of seeds short, as they are spelled on the command line."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, Path) for item in value):
        return [str(item) for item in value]
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return _spell_seeds(value)
    return value


def _spell_seeds(seeds: Sequence[int]) -> str:
    ranges: list[list[int]] = []
    for seed in seeds:
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
