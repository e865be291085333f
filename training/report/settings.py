"""The settings of a run: their options, and what its preset gives by itself."""

from typing import Any

from torch_utils import config as configs
from training.config import RunConfig
from training.course import Asked, Course
from training.courses import find, name_in
from training.signs import Config, Signs

# These depend on the machine, or are chosen anew for each run: no preset has them.
CHOSEN = {"model", "preset", "seed", "device", "precision", "workers", "metrics", "pace.batch_gpu"}


def course_of(config: Config) -> Course | None:
    """The course of a run, by its nested configuration; None for a model of another version."""
    try:
        return find(name_in(config))
    except ValueError:
        return None


def signs_of(config: Config) -> Signs:
    """What the statistics of a run mean."""
    course = course_of(config)
    return course.signs if course else Signs()


def options_of(config: Config) -> dict[str, str]:
    """The option of each setting by dotted name; empty for a model of another version."""
    course = course_of(config)
    known = configs.settings(course.config) if course else {}
    return {name: setting.spelling for name, setting in known.items()}


def typed(config: Config) -> RunConfig | None:
    """The configuration with its types; None if this version does not know the model, a setting or a value."""
    course = course_of(config)
    try:
        return configs.from_dict(course.config, config) if course else None
    except (ValueError, TypeError, ArithmeticError):
        return None


def usual(config: RunConfig) -> dict[str, Any]:
    """The settings that the preset of a run gives by itself, by dotted name.

    Settings that depend on the number of images or of processes are left out: a configuration does not hold these.
    """
    course = find(config.model)
    size = dict(course.models[config.model])
    given = size | {"pace.batch": config.pace.batch, "pace.batch_gpu": config.pace.batch_gpu}

    def settled(given: dict[str, Any], world: int, images: int | None) -> dict[str, Any]:
        asked = Asked(config.preset, config.shape, given | {"precision": config.precision}, world, images)
        return configs.flatten(course.settle(asked).config)

    try:
        values, others = settled(given, 1, None), settled(given, 1, 1)
        values["pace.batch"], others["pace.batch"] = (settled(size, world, None)["pace.batch"] for world in (1, 2))
    except (ValueError, ArithmeticError):  # a batch of 0, a preset that needs other images
        return {}
    kept = (name for name, value in values.items() if others[name] == value and not name.startswith("data."))
    return {name: values[name] for name in kept if name not in CHOSEN}
