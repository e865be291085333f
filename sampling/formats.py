"""From a network file to another format: all formats, their options, and the networks that each takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from models.families import FAMILIES, NetworkFile, save_network
from models.family import Family
from models.foreign import Format, Job, Notes
from models.places import CARD, MODEL
from models.sampler import Options
from sampling import modelcard
from system.files import check_folder, real_path
from torch_utils import flags
from torch_utils.config import flag

_GROUP = "Files of weights"
_DTYPE = "type of the stored numbers; auto: as in the source. float16 halves the file"


class WeightsOptions(Options):
    """How numbers are stored."""

    dtype: Literal["auto", "float32", "float16"] = flag("auto", "--dtype", _GROUP, _DTYPE)


class HubOptions(WeightsOptions):
    """The license in the model card, too."""

    license: str = flag("", "--license", _GROUP, "license in the model card, such as mit")


def stored(job: Job) -> torch.dtype:
    """The type of the numbers to store, by --dtype or the source; ValueError if a number is too large for it."""
    tensors = {key: t for key, t in job.tensors.items() if key.split(".")[0] in job.networks}
    halves = all(t.dtype == torch.float16 for t in tensors.values())
    named = {"float32": torch.float32, "float16": torch.float16}
    dtype = named.get(job.options.dtype, torch.float16 if halves else torch.float32)
    for key, t in tensors.items():
        if not torch.equal(t.isfinite(), t.to(dtype).isfinite()):
            largest = f"{float(t.abs().max()):.6g}"
            raise ValueError(f"--dtype float16 ends at 65504, and {key} reaches {largest}: take float32")
    return dtype


def resolved(job: Job) -> dict[str, Any]:
    """The values of a job's options, by their names on the command line."""
    values = job.options.model_dump()
    values |= {"dtype": str(stored(job)).removeprefix("torch.")} if "dtype" in values else {}
    return {name.replace("_", "-"): value for name, value in values.items()}


def _write_network(job: Job) -> Notes:
    save_network(job.dest, job.metadata["family"], job.networks, job.metadata, stored(job))
    return {job.dest: f"{', '.join(job.networks)} in {resolved(job)['dtype']}"}


def _write_hub(job: Job) -> Notes:
    if job.options.license and (card := job.dest / CARD).exists():
        raise ValueError(f"--license goes into a new card, and {card} exists: leave it out, or remove the card")
    return {job.dest: ", ".join(modelcard.publish(job, stored(job)))}


NEUTRAL = (
    Format(".safetensors", "a .safetensors", _write_network, WeightsOptions),
    Format(
        "", "a folder of the Hub", _write_hub, HubOptions, shows=True, kind="hub", check=modelcard.check_publishable
    ),
)


FURTHER: list[Format] = []  # formats for any family that a room above this one adds


def formats(families: Iterable[Family]) -> list[Format]:
    """The formats for networks of these families."""
    return [*NEUTRAL, *FURTHER, *(form for family in families for form in family.formats)]


def known_endings() -> str:
    """The endings of files that can be written, for the help: those of all networks, then those of each family."""
    own = [
        (family.title, [form.ending for form in family.formats if form.ending])
        for family in FAMILIES.values()
        if family.formats
    ]
    every = ", ".join(form.ending for form in NEUTRAL if form.ending)
    return "; ".join(
        [f"{every} of any network", *(f"{', '.join(endings)} of {title}" for title, endings in own if endings)]
    )


def format_flags() -> list[flags.Option]:
    """The options of all formats for the command line, each once."""
    return _each_once(form.options for form in formats(FAMILIES.values()))


def source_flags() -> list[flags.Option]:
    """The options of all readers of other programs' files for the command line, each once."""
    readers = (reader for family in FAMILIES.values() for reader in family.foreign)
    return _each_once(reader.options for reader in readers if reader.options)


def _each_once(models: Iterable[type[Options]]) -> list[flags.Option]:
    return list({option.name: option for model in models for option in flags.flags(model)}.values())


def kinds() -> list[str]:
    """The values of --format that choose folders."""
    return list(dict.fromkeys(form.kind for form in formats(FAMILIES.values()) if form.kind))


def find_format(dest: Path, kind: str, families: Collection[Family]) -> Format:
    """The format of these families for `dest` by its ending: the Hub's for a folder, or a path without an ending.

    `kind` is that of --format; "auto" goes by the ending.
    """
    if kind != "auto":
        for form in formats(families):
            if form.kind == kind:
                return form
        raise ValueError(f"--format {kind} holds no networks of {next(iter(families)).title}: take another format")
    ending = "" if dest.is_dir() else dest.suffix.lower()
    known = {form.ending: form for form in reversed(formats(families))}
    if ending not in known:
        endings = ", ".join(dict.fromkeys(form.ending for form in formats(families) if form.ending))
        whose = f", the formats of {next(iter(families)).title}" if len(families) == 1 else ""
        raise ValueError(
            f"--dest {dest} ends in {dest.suffix}, expected {endings}{whose}: take one of these, or give --format hub "
            f"for a folder"
        )
    return known[ending]


def check_options(form: Format | None, options: Mapping[str, Any]) -> None:
    """Raise ValueError for options that do not apply to a format; None for a source that is only described."""
    for name, value in options.items():
        if value is None or (form is not None and name in form.options.model_fields):
            continue
        typed = f"--{name.replace('_', '-')}"
        if form is None:
            raise ValueError(f"{typed} needs --dest, the file or folder to write: give --dest, or leave {typed} out")
        takers = dict.fromkeys(f.name for f in formats(FAMILIES.values()) if name in f.options.model_fields)
        raise ValueError(f"{typed} does not apply to {form.name}, only to {' and '.join(takers)}: leave it out")


def check_dest(dest: Path, file: NetworkFile) -> None:
    """Raise ValueError if `dest` is the source itself, or the folder above is a file or read-only."""
    check_folder(dest.parent, f"--dest {dest}")
    source, target = real_path(file.path), real_path(dest)
    if source in (target, target / MODEL):
        raise ValueError(f"--dest {dest} is the source itself: name another path")


def choose(file: NetworkFile, only: str | None, form: Format) -> list[str]:
    """The networks to write: those that `--only` names with commas, or all that the format takes."""
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
