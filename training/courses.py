"""The table of everything that can be trained. No other module of the engine names a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from models.families import FAMILIES
from torch_utils import checkpoint, distributed, runs
from torch_utils.config import settings
from training import recipe as learning
from training.adain import course as adain
from training.config import RunConfig
from training.course import Course, Facts
from training.diffusion import course as diffusion
from training.signs import Signs
from training.stylegan2 import course as stylegan2

COURSES: tuple[Course, ...] = (stylegan2.COURSE, *diffusion.COURSES, *adain.COURSES)
DEFAULT = "stylegan2"


def find(model: object) -> Course:
    """The course that trains a model. Raises ValueError for an unknown name."""
    for course in COURSES:
        if model in course.models:
            return course
    raise ValueError(f"--model got {str(model)!r}, expected one of: {', '.join(names())}")


def names() -> list[str]:
    """All models, for messages: of a course with many, the first and the last."""
    models = [list(course.models) for course in COURSES]
    return [name for each in models for name in (each if len(each) < 4 else [f"{each[0]} ... {each[-1]}"])]


def every() -> list[str]:
    """All models."""
    return [name for course in COURSES for name in course.models]


def name_in(training: object) -> str:
    """The model of a run, from the nested configuration in its files; files without a model are of a StyleGAN2."""
    model = training.get("model", DEFAULT) if isinstance(training, Mapping) else DEFAULT
    return model if isinstance(model, str) else ""


def signs_of(training: object) -> Signs:
    """What the statistics of a run mean, by its nested configuration; nothing for a model of another version."""
    return next((course.signs for course in COURSES if name_in(training) in course.models), Signs())


def name_for(given: str | None, resume: str | None, transfer: str | None, outdir: Path) -> str:
    """The model of a command line: that of the run or network file it names, else `given`, else StyleGAN2's.

    Raises ValueError if `given` contradicts the file. A file that cannot be read is reported later, when it is loaded.
    """
    if resume is not None and transfer is None:
        where = runs.resolve(resume, outdir)
        files = [path for path in (where.state, where.previous) if path is not None]
        found = next((name_in(header.get("training")) for path in files if (header := checkpoint.header(path))), None)
        source = str(where.run)
    else:
        found, source = _name_in_network(transfer) if resume is None and transfer else None, str(transfer)
    if given is not None and found is not None and given != found and find(found).family is not find(given).family:
        raise ValueError(f"--model is {given}, but {source} holds a {found}: leave --model out")
    return given or found or DEFAULT


def _name_in_network(place: str) -> str | None:
    """The model that trained a network file, by its header; of a published network, by its name."""
    family = next((family.name for family in FAMILIES.values() if place in family.published), None)
    path = Path(place)
    if path.is_dir():
        path = runs.newest_in(path) or path
    header = checkpoint.header(path) if path.is_file() else {}
    for course in COURSES:
        if course.family.name == header.get("family", family):
            trained = name_in(header.get("training"))
            return trained if trained in course.models else next(iter(course.models))
    return None


def refuse_foreign(course: Course, model: str, sets: Sequence[str]) -> None:
    """Raises ValueError if `--set` names a setting that only other models have."""
    for name in (text.partition("=")[0].strip() for text in sets):
        owners = [other.title for other in COURSES if name in settings(other.config)]
        if owners and course.title not in owners:
            raise ValueError(f"--set {name} does not apply to {model}, only to {' and '.join(owners)}: leave it out")


def outline(config: RunConfig) -> learning.Recipe:
    """The recipe of a configuration on the meta device, without memory. Raises ValueError for impossible sizes."""
    try:
        with distributed.alone(), torch.device("meta"):
            return find(config.model).recipe(config, Facts(torch.ones(0, device="cpu")), torch.device("meta"))
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ValueError("no network has the sizes of its configuration") from error
