"""The options that every sampling script shares, and the record of them that lies beside its pictures."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from sampling import record
from sampling.anchors import MOST
from sampling.sampler import Sampler, open_sampler
from torch_utils.cli import Number, SeedList, option
from torch_utils.device import is_out_of_memory


def sampling_options(
    seeds: str | None = None, psi: bool = True, centers: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a script the common options. Its function gets a `Sampler`, then its own options by name.

    Args:
        seeds: default of `--seeds`, which the function gets as `seeds`; None leaves the option out.
        psi: False leaves `--psi` out.
        centers: True adds `--centers`.
    """
    common = inspect.signature(open_sampler).parameters
    options = [
        *_NETWORK_OPTIONS,
        *([_seeds_option(seeds)] if seeds else []),
        *([_PSI_OPTION] if psi else []),
        *([_CENTERS_OPTION] if centers else []),
        *_OTHER_OPTIONS,
    ]

    def decorate(script: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(script)
        def resolved(**params: Any) -> Any:
            sampler = open_sampler(**{name: params.pop(name) for name in common if name in params})
            return _with_memory_explained(lambda: script(sampler, **params), sampler)

        for add in reversed(options):
            resolved = add(resolved)
        return resolved

    return decorate


def write_record(script: str, sampler: Sampler, resolved: Mapping[str, Any] | None = None, **facts: Any) -> None:
    """Writes `SCRIPT.json` beside the pictures: the command, the network and every option, and `facts`.

    Options that came to mean something else than was given are said as they are `resolved`.
    """
    meant = {"network": str(sampler.file), "device": sampler.device.type, "precision": sampler.precision}
    about = {"network": str(sampler.file), "kimg": sampler.kimg, **facts}
    record.write_record(script, sampler.outdir / f"{script}.json", about, meant | dict(resolved or {}))


def _seeds_option(default: str) -> Callable[..., Any]:
    return option("--seeds", type=SeedList(), default=default, group="Pictures", help="one picture for each")


_PSI_OPTION = option(
    "--psi",
    "--trunc",
    type=Number(),
    default=1.0,
    group="Pictures",
    help="truncation: 1 full variety, towards 0 the average image",
)
_CENTERS_OPTION = option(
    "--centers",
    type=click.IntRange(1, MOST),
    group="Pictures",
    help="psi pulls towards the nearest of so many centres of w, of its class, in place of the one average",
)
_NETWORK_OPTIONS = [
    option(
        "--network",
        type=click.Path(),
        metavar="PLACE",
        group="Network",
        help="network-….safetensors, a run folder, a file of another program, a URL, hf://USER/NAME, or a published "
        "name such as ffhq256; without it the newest one in runs, else the bundled one",
    ),
    option(
        "--class",
        "label",
        metavar="CLASS",
        group="Network",
        help="number or name of the class of all pictures; without it a seed's class is seed mod classes",
    ),
]
_OTHER_OPTIONS = [
    option(
        "--psi-cutoff",
        type=click.IntRange(min=0),
        group="Pictures",
        help="how many of the first layers are truncated; without it all",
    ),
    option(
        "--noise-mode",
        type=click.Choice(["const", "random", "none"]),
        default="const",
        group="Pictures",
        help="noise of the synthesis: the network's own, drawn from the seed, or none",
    ),
    option("--outdir", type=click.Path(path_type=Path), default=Path("out"), group="Output", help="folder to write to"),
    option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        group="Device",
        help="where to compute",
    ),
    option(
        "--precision",
        type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
        default="auto",
        group="Device",
        help="number format of the convolutions; auto is fp32",
    ),
    option(
        "--batch",
        type=click.IntRange(min=1),
        default=1,
        group="Device",
        help="pictures that a GPU computes at once: more is faster, and may change pixels by a grey level",
    ),
]


def _with_memory_explained(run: Callable[[], Any], sampler: Sampler) -> Any:
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        device = sampler.device.type
        remedies = [f"take a --batch smaller than {sampler.batch}"] if sampler.batch > 1 else []
        remedies += ["choose --device cpu"] if device != "cpu" else []
        remedy = " or ".join(remedies or ["stop other programs"])
        raise ValueError(f"the memory of this {device} device ran out: {remedy}") from error
