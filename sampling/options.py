"""The options that every sampling script shares, and the record of them that lies beside its pictures."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from models.stylegan2.anchors import MOST
from models.stylegan2.latentfile import Latents, load_latents
from sampling import record
from sampling.refusals import given
from sampling.sampler import Sampler, open_sampler
from torch_utils.cli import Number, SeedList, option
from torch_utils.device import is_out_of_memory, switches


def sampling_options(
    seeds: str | None = None, psi: bool = True, centers: bool = False, latents: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a script the common options. Its function gets a `Sampler`, then its own options by name.

    Args:
        seeds: default of `--seeds`, which the function gets as `seeds`; None leaves the option out.
        psi: False leaves `--psi` out.
        centers: True adds `--centers`.
        latents: adds `--latents`, which takes the place of seeds; the function gets it as `latents`, a `Latents` of
            the network or None.
    """
    options = [
        *([_seeds_option(seeds)] if seeds else []),
        *([_LATENTS_OPTION] if latents else []),
        *([_PSI_OPTION] if psi else []),
        *([_CENTERS_OPTION] if centers else []),
        *_TRUNCATION_AND_NOISE_OPTIONS,
    ]
    options = [_NETWORK_OPTION, _CLASS_OPTION, *options, _OUTDIR_OPTION, *_DEVICE_OPTIONS, _BATCH_OPTION]
    return _opening(options, latents=latents)


def projection_options() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives `project.py` the common options, as far as they apply. Its function gets a `Sampler`, then its own."""
    options = [_NETWORK_OPTION, _START_OPTION, _OUTDIR_OPTION, *_DEVICE_OPTIONS, _TARGETS_OPTION]
    return _opening(options, seeded=False)


def _opening(
    options: Sequence[Callable[..., Any]], seeded: bool = True, latents: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a script these options, of which those that `open_sampler` takes become the `Sampler`.

    With `latents` the file of `--latents` becomes the `Latents` in it.
    """
    common = inspect.signature(open_sampler).parameters

    def decorate(script: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(script)
        def resolved(**params: Any) -> Any:
            opened = {name: params.pop(name) for name in common if name in params}
            sampler = open_sampler(**opened, seeded=seeded and params.get("latents") is None)
            if latents and params["latents"] is not None:
                params["latents"] = _load_latents(params["latents"], sampler)
            # Trying which algorithm is fastest may end differently each time, and with it the rounding of a picture.
            with switches(sampler.precision, trial=False):
                return _with_memory_explained(lambda: script(sampler, **params), sampler)

        for add in reversed(options):
            resolved = add(resolved)
        return resolved

    return decorate


def _load_latents(path: Path, sampler: Sampler) -> Latents:
    """The latents of a file; refuses beside them what would have no effect."""
    if "seeds" in given():
        raise ValueError("--latents takes the place of --seeds: give one of them")
    sampler.check_latents()
    return load_latents(path, sampler.G)


def write_record(
    script: str, sampler: Sampler, resolved: Mapping[str, Any] | None = None, of: str = "", **facts: Any
) -> None:
    """Writes `SCRIPT.json` beside the pictures: the command, the network and every option, and `facts`.

    `resolved` replaces the value of an option whose effective value differs from what was typed (`auto`, a default).
    `of`: name the record after this file instead of after the script.
    """
    meant: dict[str, Any] = {
        "network": str(sampler.file),
        "device": sampler.device.type,
        "precision": sampler.precision,
    }
    if click.get_current_context().params.get("latents") is not None:
        meant["seeds"] = None
    about = {"network": str(sampler.file), "kimg": sampler.kimg, **facts}
    record.write_record(script, sampler.outdir / f"{of or script}.json", about, meant | dict(resolved or {}))


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
_LATENTS_OPTION = option(
    "--latents",
    "--projected-w",
    "--projected_w",
    "latents",
    type=click.Path(path_type=Path),
    group="Pictures",
    help="instead of seeds: the w of a projected-w.npz of project.py, with the noise fitted to them",
)
_NETWORK_OPTION = option(
    "--network",
    type=click.Path(),
    metavar="PLACE",
    group="Network",
    help="network-….safetensors, a run folder, a file of another program, a URL, hf://USER/NAME, or a published "
    "name such as ffhq256; without it the newest one in runs, else the bundled one",
)
_CLASS_OPTION = option(
    "--class",
    "label",
    metavar="CLASS",
    group="Network",
    help="number or name of the class of all pictures; without it a seed's class is seed mod classes",
)
_START_OPTION = option(
    "--class",
    "label",
    metavar="CLASS",
    group="Network",
    help="number or name of the class to start from; without it that whose average image is nearest to the target",
)
_TRUNCATION_AND_NOISE_OPTIONS = [
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
]
_OUTDIR_OPTION = option(
    "--outdir", type=click.Path(path_type=Path), default=Path("out"), group="Output", help="folder to write to"
)
_DEVICE_OPTIONS = [
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
]
_BATCH_OPTION = option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    group="Device",
    help="pictures that a GPU computes at once: more is faster, and may change pixels by a grey level",
)
_TARGETS_OPTION = option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    group="Device",
    help="targets that are optimised at once: more is faster and takes more memory",
)


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
