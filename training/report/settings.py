"""The configuration of a run as rows: every setting, its option, and the preset's value where it differs."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from system.text import printable
from torch_utils import config as configs
from training.signs import Config, Signs

MOST = 1000  # settings on the page; a configuration has fewer than 100


class Row(NamedTuple):
    """One setting."""

    name: str  # dotted
    value: str
    option: str  # "" if this version does not know the setting
    preset: str  # the preset's value, if it differs


def rows(config: Config, signs: Signs) -> list[Row]:
    """The settings of a nested configuration of any version, in its order."""
    known, usual = configs.settings(signs.settings), signs.usual(config)
    found = []
    for name, value in _leaves(config, ""):
        option = known[name].spelling if name in known else ""
        preset = configs.spell(usual[name]) if usual.get(name, value) != value else ""
        found.append(Row(printable(name), printable(configs.spell(value)), option, preset))
    return found[:MOST]


def _leaves(nested: Config, prefix: str) -> Iterator[tuple[str, Any]]:
    groups = {name: value for name, value in nested.items() if isinstance(value, Mapping)}
    yield from ((f"{prefix}{name}", value) for name, value in nested.items() if name not in groups)
    for name, value in groups.items():
        yield from _leaves(value, f"{prefix}{name}.")
