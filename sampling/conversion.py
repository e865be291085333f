"""From a network file to another format: the format of a path, its options, and the networks that it takes."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from models.families import FAMILIES, NetworkFile
from models.family import Family
from models.foreign import Format
from models.places import MODEL
from models.sampler import Options
from sampling.formats import formats
from system.files import check_folder, real_path
from torch_utils import flags
from torch_utils.flags import given


def source_flags() -> list[flags.Option]:
    """The options of all readers of other programs' files for the command line, each once."""
    readers = (reader for family in FAMILIES.values() for reader in family.foreign if reader.options)
    options = [option for reader in readers for option in flags.flags(reader.options or Options)]
    return list({option.name: option for option in options}.values())


def find_format(dest: Path, hub: bool, families: Collection[Family]) -> Format:
    """The format for `dest` by its ending: the Hub's for a folder, or a path without an ending.

    Raises:
        ValueError: if none of the families can be written with this ending.
    """
    ending = "" if hub or dest.is_dir() else dest.suffix.lower()
    known = formats(families)
    found = next((form for form in known if form.ending == ending), None)
    if found is None:
        endings = ", ".join(dict.fromkeys(form.ending for form in known if form.ending))
        whose = f", the formats of {next(iter(families)).title}" if len(families) == 1 else ""
        raise ValueError(
            f"--dest {dest} ends in {dest.suffix}, expected {endings}{whose}: take one of these, or give --format hub "
            f"for a folder"
        )
    return found


def check_options(form: Format | None, options: Mapping[str, Any]) -> None:
    """Refuse options that do not apply to a format; None for a source that is only described.

    Raises:
        ValueError: naming the option, and the formats that take it.
    """
    for name, value in options.items():
        if value is None or (form is not None and name in form.options.model_fields):
            continue
        flag = f"--{name.replace('_', '-')}"
        if form is None:
            raise ValueError(f"{flag} needs --dest, the file or folder to write: give --dest, or leave {flag} out")
        takers = dict.fromkeys(f.name for f in formats(FAMILIES.values()) if name in f.options.model_fields)
        raise ValueError(f"{flag} does not apply to {form.name}, only to {' and '.join(takers)}: leave it out")


def read_options(form: Format, options: Mapping[str, Any]) -> Any:
    """The options of a format, from those given on the command line."""
    return form.options(**given(form.options, options))


def check_dest(dest: Path, file: NetworkFile) -> None:
    """Check that a network can be written to `dest`.

    Raises:
        ValueError: if it is the source itself, or the folder above is a file or read-only.
    """
    check_folder(dest.parent, f"--dest {dest}")
    source, target = real_path(file.path), real_path(dest)
    if source in (target, target / MODEL):
        raise ValueError(f"--dest {dest} is the source itself: name another path")


def choose(file: NetworkFile, only: str | None, form: Format) -> list[str]:
    """The networks to write: those that `--only` names with commas, or all that the format takes.

    Raises:
        ValueError: if a name is unknown, or the format does not take the network.
    """
    held = ", ".join(file.parts)
    names = [name.strip() for name in only.split(",")] if only is not None else file.parts
    for name in names:
        if name not in file.parts:
            raise ValueError(f"--only {only}: {file} has no network {name!r}, only {held}")
    makers = [name for name in file.family.shown if name in names]
    either = " or ".join(file.family.shown)
    if form.one:
        if only is not None and (len(names) > 1 or not makers):
            raise ValueError(f"--only {only}: {form.name} holds one network that makes pictures: name {either}")
        names = makers[:1]
    if (form.one or form.shows) and not makers and file.family.shown:
        found = f"--only names {only}" if only is not None else f"{file} has only {held}"
        raise ValueError(f"{form.name} needs {either}, but {found}")
    return [name for name in file.parts if name in names]
