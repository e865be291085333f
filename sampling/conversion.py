"""From a network file to another format: which one a path asks for, what applies to it, and which networks it takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.families import NetworkFile
from models.hubfolder import MODEL
from models.stylegan2.family import FAMILY
from sampling.formats import FORMATS, GENERATORS, HUB, Format
from system.files import real_path
from torch_utils.paths import check_folder


def find_format(dest: Path, hub: bool) -> Format:
    """The format that a path asks for by its ending; the Hub's for folders and what looks like one.

    Raises:
        ValueError: for endings that mean nothing.
    """
    if hub or dest.is_dir() or not dest.suffix:
        return FORMATS[HUB]
    if dest.suffix.lower() not in FORMATS:
        endings = ", ".join(key for key in FORMATS if key != HUB)
        raise ValueError(
            f"--dest {dest} ends in {dest.suffix}, which is none of {endings}: take one of these, or give --format hub "
            f"for a folder"
        )
    return FORMATS[dest.suffix.lower()]


def check_options(form: Format | None, options: Mapping[str, Any]) -> None:
    """Refuses what does not apply to a format; None stands for a source that is only described.

    Raises:
        ValueError: naming the option, and the formats that it is for.
    """
    for name, value in options.items():
        if value is None or value is False or (form is not None and name in form.options):
            continue
        flag = f"--{name.replace('_', '-')}"
        if form is None:
            raise ValueError(f"{flag} applies to what is written: say where with --dest, or leave it out")
        takers = [other.name for other in FORMATS.values() if name in other.options]
        raise ValueError(f"{flag} does not apply to {form.name}, only to {' and '.join(takers)}: leave it out")


def check_dest(dest: Path, file: NetworkFile, form: Format) -> None:
    """Makes sure that a network can be written there, and is not what it is read from.

    Raises:
        ValueError: when it is, the folder above is a file or read-only, or the format holds no networks of its family.
    """
    if form.stylegan2:
        file.require(FAMILY, f"--dest {dest}")
    check_folder(dest.parent, f"--dest {dest}")
    source, target = real_path(file.path), real_path(dest)
    if source in (target, target / MODEL):
        raise ValueError(f"--dest {dest} is the source itself: name another path")


def choose(file: NetworkFile, only: str | None, form: Format) -> list[str]:
    """The networks of a file that go into a format: those that `--only` names with commas, else all that it takes.

    Raises:
        ValueError: when one is named that is not there, or that the format does not take.
    """
    held = ", ".join(file.parts)
    names = [name.strip() for name in only.split(",")] if only is not None else file.parts
    for name in names:
        if name not in file.parts:
            raise ValueError(f"--only {only}: {file} has no network {name!r}, only {held}")
    generators = [name for name in GENERATORS if name in names]
    if form.one:
        if only is not None and (len(names) > 1 or not generators):
            raise ValueError(f"--only {only}: {form.name} holds one generator, so name G_ema or G")
        names = generators[:1]
    if (form.one or form.shows) and not generators:
        found = f"--only names {only}" if only is not None else f"{file} has only {held}"
        raise ValueError(f"{form.name} needs a generator, and {found}")
    return [name for name in file.parts if name in names]
