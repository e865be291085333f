"""The configuration of a run as rows of a table: every setting, how it is given, where it differs from the preset."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from system.text import printable
from torch_utils import config as configs
from training.report.history import part
from training.stylegan2 import presets
from training.stylegan2.config import StyleGAN2Config

MOST = 1000  # settings on the page; a configuration has fewer than 100

# These depend on the machine and the data, or are chosen anew for each run: no preset has them.
NO_PRESET = {"preset", "seed", "device", "precision", "workers", "metrics", "pace.batch_gpu"}


@dataclass(frozen=True)
class Row:
    """One setting."""

    name: str  # dotted
    value: str
    option: str  # how it is given; "" where this version knows no such setting
    preset: str = ""  # what its preset says, where that is something else


def rows(config: Mapping[str, Any]) -> list[Row]:
    """The settings of a nested configuration, of whatever version, in its order."""
    known, usual = configs.settings(StyleGAN2Config), _usual(config)
    found = []
    for name, value in _leaves(config, ""):
        option = known[name].spelling if name in known else ""
        differs = name in usual and usual[name] != value
        preset = configs.spell(usual[name]) if differs else ""
        found.append(Row(printable(name), printable(configs.spell(value)), option, preset))
    return found[:MOST]


def _usual(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the preset gives to images of this size where nothing is asked for; empty where that cannot be told."""
    image, pace, preset = part(config, "generator"), part(config, "pace"), str(config.get("preset"))
    data = {name: image.get(name) for name in ("height", "width", "channels", "classes")}
    given = {f"pace.{name}": pace.get(name) for name in ("batch", "batch_gpu")} | {"precision": config.get("precision")}
    try:
        usual = configs.flatten(presets.resolve(preset, data, given, world=1))
        if preset == "auto":  # which looks at the numbers of processes and of images, too
            usual = {name: value for name, value in usual.items() if name not in ("pace.batch", "augment.mode")}
        else:
            usual["pace.batch"] = presets.resolve(preset, data, {}, world=1).pace.batch
    except (ValueError, KeyError, TypeError, ArithmeticError):  # a batch of 0, say
        return {}
    return {name: value for name, value in usual.items() if name not in NO_PRESET and not name.startswith("data.")}


def _leaves(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    groups = {name: value for name, value in nested.items() if isinstance(value, Mapping)}
    yield from ((f"{prefix}{name}", value) for name, value in nested.items() if name not in groups)
    for name, value in groups.items():
        yield from _leaves(value, f"{prefix}{name}.")
