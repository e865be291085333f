"""The options that every sampling script shares, and the record of them that is written beside its pictures."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from models.families import FAMILIES, NetworkFile, read_network
from models.sampler import Options
from sampling import record
from sampling.opening import Opened, find, open_network
from sampling.refusals import given
from torch_utils import config, flags
from torch_utils.cli import SeedList, option
from torch_utils.device import is_out_of_memory, switches

COMMON = ("label", "outdir", "device", "precision", "batch")

NETWORK = option(
    "--network",
    type=click.Path(),
    metavar="PLACE",
    group="Network",
    help="network-….safetensors, a run folder, a file of another program, a URL, hf://USER/NAME, or a published "
    "name such as ffhq256; without it the newest one in runs, else the bundled one",
)
DEVICE = option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    group="Device",
    help="compute device",
)
_PRECISION = option(
    "--precision",
    type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
    default="auto",
    group="Device",
    help="number format of the network's large products; auto is fp32",
)
_OUTDIR = option(
    "--outdir", type=click.Path(path_type=Path), default=Path("out"), group="Output", help="folder to write to"
)
_BATCH = "pictures that a GPU computes at once: more is faster, and may change pixels by a gray level"
_CLASS = "number or name of the class of all pictures; without it a seed's class is seed mod classes"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def sampling_options(
    seeds: str | None = None,
    model: type[Options] | None = None,
    names: Sequence[str] | None = None,
    seeded: bool = True,
    label: str = _CLASS,
    batch: str = _BATCH,
    default_batch: int = 1,
) -> Decorator:
    """Give a script the common options. Its function gets an `Opened`, then its own options by name.

    Args:
        seeds: default of `--seeds`, which the function gets as `seeds`; None leaves the option out.
        model: the family's options that the script takes, for scripts of one family; None takes those of the opened
            network's family, which a `Command` adds.
        names: the fields of `model` that are options of the script; None for all.
        seeded: False if no picture comes from a seed.
        label, batch, default_batch: help of --class and --batch, and default of the latter.
    """
    seed_option = [option("--seeds", type=SeedList(), default=seeds, group="Pictures", help="one picture for each")]
    options = [
        NETWORK,
        option("--class", "label", metavar="CLASS", group="Network", help=label),
        *(seed_option if seeds else []),
        _OUTDIR,
        DEVICE,
        _PRECISION,
        option("--batch", type=click.IntRange(min=1), default=default_batch, group="Device", help=batch),
    ]

    def decorate(script: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(script)
        def resolved(**params: Any) -> Any:
            opened = _open(params, model, names, seeded)
            # Trying which algorithm is fastest may end differently each time, and with it the rounding of a picture.
            with switches(opened.precision, trial=False):
                return _with_memory_explained(lambda: script(opened, **params), opened)

        for add in reversed(options):
            resolved = add(resolved)
        own: list[Any] = flags.flags(model, names) if model else []
        resolved.__click_params__ = [*reversed(own), *resolved.__click_params__]  # type: ignore[attr-defined]
        return resolved

    return decorate


def _open(params: dict[str, Any], model: type[Options] | None, names: Sequence[str] | None, seeded: bool) -> Opened:
    """Open the network that a script's parameters name, and take the parameters that say how out of them."""
    found: NetworkFile | None = click.get_current_context().obj  # the command has read it already
    place = params.pop("network")
    file = found or read_network(find(place))
    kind = file.family.options
    if model is not None and not issubclass(kind, model):
        able = " or ".join(family.title for family in FAMILIES.values() if issubclass(family.options, model))
        raise ValueError(f"this script needs a network of {able}, but {file} holds a network of {file.family.title}")
    known = config.settings(kind)
    values = {name: params.pop(name) for name in (known if names is None else names) if name in params}
    options = config.build(kind, {name: value for name, value in values.items() if value is not None})
    for name, setting in known.items():
        if (replaced := setting.mark.get("instead_of")) and getattr(options, name) is not None:
            if replaced in given():
                raise ValueError(f"{setting.spelling} takes the place of --{replaced}: give one of them")
            seeded = False
    seeded = seeded and params.get("latents") is None  # of scripts with --latents of their own
    common = {name: params.pop(name) for name in COMMON}
    return open_network(file, options, **common, seeded=seeded)


def write_record(
    script: str, opened: Opened, resolved: Mapping[str, Any] | None = None, of: str = "", **facts: Any
) -> None:
    """Write `SCRIPT.json` beside the pictures: the command, the network, every option, and `facts`.

    `resolved` replaces the value of an option whose effective value differs from what was typed (`auto`, a default).
    `of`: name the record after this file instead of after the script.
    """
    meant: dict[str, Any] = {
        "network": str(opened.file),
        "device": opened.sampler.device.type,
        "precision": opened.precision,
    }
    params = click.get_current_context().params
    for name, setting in config.settings(type(opened.options)).items():
        value = getattr(opened.options, name)
        if name in params and params[name] is None:  # a default, which the family decides
            meant[setting.mark["flag"].lstrip("-")] = value
        if value is not None and (replaced := setting.mark.get("instead_of")):
            meant[replaced] = None
    about = {"network": str(opened.file), "kimg": opened.file.metadata.get("kimg"), **facts}
    record.write_record(script, opened.outdir / f"{of or script}.json", about, meant | dict(resolved or {}))


def _with_memory_explained(run: Callable[[], Any], opened: Opened) -> Any:
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        device = opened.sampler.device.type
        remedies = [f"take a --batch smaller than {opened.batch}"] if opened.batch > 1 else []
        remedies += ["choose --device cpu"] if device != "cpu" else []
        remedy = " or ".join(remedies or ["stop other programs"])
        raise ValueError(f"the memory of this {device} device ran out: {remedy}") from error
