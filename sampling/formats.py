"""The formats that a network of any family can be written in, and the choice among these and its family's own."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field

from models.families import FAMILIES, save_network
from models.family import Family
from models.foreign import Format, Job, Notes
from models.places import CARD
from models.sampler import Options
from sampling.publication import check_publishable, publish
from torch_utils import flags

_DTYPES = {"float32": torch.float32, "float16": torch.float16}
_GROUP = "Files of weights"


class WeightsOptions(Options):
    """How numbers are stored."""

    dtype: Literal["auto", "float32", "float16"] = Field(
        "auto",
        description="type of the stored numbers; auto: as in the source. float16 halves the file",
        json_schema_extra={"flag": "--dtype", "group": _GROUP},
    )


class HubOptions(WeightsOptions):
    """The license in the model card, too."""

    license: str = Field(
        "",
        description="license in the model card, such as mit",
        json_schema_extra={"flag": "--license", "group": _GROUP},
    )


def stored(job: Job) -> torch.dtype:
    """The type of the numbers to store: by --dtype, or float16 if the source has nothing else.

    Raises:
        ValueError: if a number is too large for that type.
    """
    tensors = {key: t for key, t in job.tensors.items() if key.split(".")[0] in job.networks}
    halves = all(t.dtype == torch.float16 for t in tensors.values())
    dtype = _DTYPES.get(job.options.dtype, torch.float16 if halves else torch.float32)
    for key, t in tensors.items():
        if not torch.equal(t.isfinite(), t.to(dtype).isfinite()):
            raise ValueError(
                f"--dtype float16 ends at 65504, and {key} reaches {float(t.abs().max()):.6g}: take float32"
            )
    return dtype


def resolved(job: Job) -> dict[str, Any]:
    """The values of a job's options, by their names on the command line."""
    values = job.options.model_dump()
    values |= {"dtype": str(stored(job)).removeprefix("torch.")} if "dtype" in values else {}
    return {name.replace("_", "-"): value for name, value in values.items()}


def _write_network(job: Job) -> Notes:
    dtype = stored(job)
    save_network(job.dest, job.metadata["family"], job.networks, job.metadata, dtype)
    return {job.dest: f"{', '.join(job.networks)} in {str(dtype).removeprefix('torch.')}"}


def _write_hub(job: Job) -> Notes:
    if job.options.license and (card := job.dest / CARD).exists():
        raise ValueError(f"--license goes into a new card, and {card} exists: leave it out, or remove the card")
    return {job.dest: ", ".join(publish(job, stored(job)))}


NEUTRAL = (
    Format(".safetensors", "a .safetensors", _write_network, WeightsOptions),
    Format("", "a folder of the Hub", _write_hub, HubOptions, shows=True, check=check_publishable),
)


def formats(families: Iterable[Family]) -> list[Format]:
    """The formats for networks of these families."""
    return [*NEUTRAL, *(form for family in families for form in family.formats)]


def known_endings() -> str:
    """The endings of files that can be written, for the help: those of all networks, then those of each family."""
    own = [(family.title, [form.ending for form in family.formats]) for family in FAMILIES.values() if family.formats]
    every = ", ".join(form.ending for form in NEUTRAL if form.ending)
    return "; ".join([f"{every} of any network", *(f"{', '.join(endings)} of {title}" for title, endings in own)])


def format_flags() -> list[flags.Option]:
    """The options of all formats for the command line, each once."""
    options = [option for form in formats(FAMILIES.values()) for option in flags.flags(form.options)]
    return list({option.name: option for option in options}.values())
