"""Commands that make pictures: their common options, the network that these open, and the record of what was made."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from imaging.film import check_film
from models.families import FAMILIES, NetworkFile, open_sampler, outline, read_network
from models.sampler import Options, Request, Sampler, learned_classes
from sampling.classes import class_names, find_class, images_of, listed, titled
from system.files import check_folder, replacing
from system.text import public_command, public_values
from torch_utils import config, flags
from torch_utils.cli import More, SeedList, option, say
from torch_utils.device import Precision, is_out_of_memory, resolve_device, resolve_precision, slow_precision, switches
from torch_utils.runs import newest_network

RUNS = Path("runs")
BUNDLED = Path(__file__).parents[1] / "assets" / "faces64.safetensors"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
PATH = click.Path(path_type=Path)


def options(group: str, *rows: tuple[Any, ...]) -> Decorator:
    """Give a script the options of one group of its help.

    A row has the names ("--apply file": flag and parameter), the type (a str is a text with this placeholder in the
    help), the default, the help, and further arguments of `click.Option`, if any.
    """
    made = []
    for names, kind, default, text, *more in rows:
        keys: dict[str, Any] = {"metavar": kind} if isinstance(kind, str) else {"type": kind, "is_flag": kind is bool}
        keys |= {"default": default, "help": text, **(more[0] if more else {})}
        if keys.get("required"):
            del keys["default"]  # otherwise click takes None for a value
        made.append(option(*names.split(), group=group, **keys))
    return lambda script: functools.reduce(lambda inner, add: add(inner), reversed(made), script)


_DEVICE = ("--device", click.Choice(["auto", "cpu", "cuda", "mps"]), "auto", "compute device")
_PRECISIONS = click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"])
_PLACE = (
    "network-….safetensors, a run folder, a file of another program, a URL, hf://USER/NAME, or a published name such "
    "as ffhq256; without it the newest one in runs, else the bundled one"
)
_CLASS = "number or name of the class of all pictures; without it a seed's class is seed mod classes"
_BATCH = "pictures that a GPU computes at once: more is faster, and may change pixels by a gray level"
_ENGINE = "what computes the network: on CPUs onnxruntime is faster for small ones; pixels may change by a gray level"
DEVICE = options("Device", _DEVICE)


@dataclass(frozen=True)
class Opened:
    """A network on its device, and what the common options of a script say about its pictures."""

    file: NetworkFile
    sampler: Sampler
    options: Options
    precision: Precision
    label: int | None  # the class of all pictures; None leaves the choice to the sampler
    batch: int
    outdir: Path

    @property
    def at_once(self) -> int:
        """Pictures to compute at once: --batch on a GPU, 1 on a CPU, where more are hardly faster."""
        return 1 if self.sampler.device.type == "cpu" else self.batch

    def requests(self, seeds: list[int]) -> list[Request]:
        """A request for each seed, or for what an option of the family replaces seeds with, such as --latents."""
        return self.sampler.requests(seeds, self.label)


def sampling_options(
    seeds: str | None = None,
    model: type[Options] | None = None,
    names: Sequence[str] | None = None,
    seeded: bool = True,
    label: str = _CLASS,
    batch: str = _BATCH,
    default_batch: int = 1,
    engine: bool = True,
) -> Decorator:
    """Give a script the common options. Its function gets an `Opened`, then its own options by name.

    `seeds` is the default of --seeds, None for a script without; `seeded` is False if no picture comes from a seed.
    A script of one family takes the options `names` of its `model`; others take those of the opened network's family,
    which a `Command` adds. `label` and `batch` are the help of --class and --batch. `engine` adds --engine.
    """
    common = [
        options("Network", ("--network", click.Path(), None, _PLACE, {"metavar": "PLACE"})),
        options("Network", ("--class label", "CLASS", None, label)),
        *([options("Pictures", ("--seeds", SeedList(), seeds, "one picture for each"))] if seeds else []),
        options("Output", ("--outdir", PATH, Path("out"), "folder to write to")),
        options(
            "Device",
            _DEVICE,
            ("--precision", _PRECISIONS, "auto", "number format of the network's large products; auto is fp32"),
            ("--batch", click.IntRange(min=1), default_batch, batch),
            *([("--engine", click.Choice(["pytorch", "onnxruntime"]), "pytorch", _ENGINE)] if engine else []),
        ),
    ]

    def decorate(script: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(script)
        def resolved(**params: Any) -> Any:
            opened = _open(params, model, names, seeded)
            try:
                # Trying which algorithm is fastest may change the rounding of a picture from run to run.
                with switches(opened.precision, trial=False):
                    return script(opened, **params)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                kind = opened.sampler.device.type
                remedies = [f"take a --batch smaller than {opened.batch}"] if opened.batch > 1 else []
                remedies += ["choose --device cpu"] if kind != "cpu" else [] if remedies else ["stop other programs"]
                raise ValueError(f"the memory of this {kind} device ran out: {' or '.join(remedies)}") from error

        command: Any = resolved
        for add in reversed(common):
            command = add(command)
        own: list[Any] = flags.flags(model, names) if model else []
        command.__click_params__ = [*reversed(own), *command.__click_params__]
        return command

    return decorate


def _open(params: dict[str, Any], model: type[Options] | None, names: Sequence[str] | None, seeded: bool) -> Opened:
    """Open the network that a script's parameters name, and take the parameters that say how out of them."""
    found: NetworkFile | None = click.get_current_context().obj  # a file that --help had to read whole
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
    seeded = seeded and "--latents" not in given().values()  # of scripts with --latents of their own
    outdir, text = params.pop("outdir"), params.pop("label")
    check_folder(outdir, f"--outdir {outdir}")
    engine, device = params.pop("engine", "pytorch"), params.pop("device")
    device = resolve_device("cpu" if engine == "onnxruntime" and device == "auto" else device)
    precision = resolve_precision(params.pop("precision"), device)
    if slow := slow_precision(precision, device):
        say(f"note: {slow}")
    sampler = open_sampler(file, options, device, precision, engine)
    if text is not None and not sampler.shape.classes:
        raise ValueError(f"--class {text} does not apply, because {file} has no classes: leave it out")
    label = None if text is None else find_class(text, class_names(sampler.metadata, sampler.shape.classes))
    opened = Opened(file, sampler, options, precision, label, params.pop("batch"), outdir)
    _introduce(opened, seeded)
    return opened


def _introduce(opened: Opened, seeded: bool) -> None:
    """Print which network it is and which classes its pictures have."""
    file, shape, label = opened.file, opened.sampler.shape, opened.label
    say(f"network {file}: {images_of(file, shape)}")
    names = class_names(opened.sampler.metadata, shape.classes)
    if label is not None:
        say(f"class{' of all pictures' if seeded else ''}: {titled(label, names)}")
    elif names and seeded:
        learned = learned_classes(opened.sampler.metadata, shape.classes)
        which = "seed mod" if len(learned) == len(names) else f"of the {len(names)} those that were learned, seed mod"
        say(f"class of each picture: {which} {len(learned)} ({listed(names, learned)})")


def find(network: str | Path | None) -> str | Path:
    """The place that --network names, or without it the newest network in `RUNS`, or the bundled one."""
    found = network or newest_network(RUNS) or (BUNDLED if BUNDLED.is_file() else None)
    if found is None:
        raise FileNotFoundError(
            f"no --network was given, and neither {RUNS} nor {BUNDLED.parent.name} holds one: "
            f"train one with train.py, or name a network-….safetensors file"
        )
    return found


def learn(params: Mapping[str, Any], seeds: bool = True, judging: bool = False) -> More:
    """The options of the network that the common options name: `more` of a `Command`.

    --help downloads nothing: it shows a network's options only if the network is on this machine. Options that take the
    place of `seeds` are left out of scripts that have none of this kind. `judging` shows the defaults that metrics use.
    """
    place = params.get("network")
    if place == "" or (judging and place is None):
        note = "With --network, --help also shows the options of that network."
        return More("", [], note=note if params["help"] else "")
    if params["help"] and place is not None and not Path(place).exists():
        return More("", [], note=f"The options of {place} are not shown, because it is not on this machine.")
    if not params["help"] and params.get("outdir") is not None:
        check_folder(params["outdir"], f"--outdir {params['outdir']}")
    file = None
    if (known := outline(find(place))) is None:  # of another program, elsewhere, or not a network
        file = read_network(find(place))
        known = file.path, file.family
    path, family = known
    options = _family_flags(family.options, seeds)
    for flag in options if judging else []:
        flag.shown = config.spell(getattr(family.judged, flag.name or "")) or None
    others = {f.title: _family_flags(f.options, seeds) for f in FAMILIES.values() if f is not family}
    return More(f"{path.name} ({family.title})", options, others, found=file)


def _family_flags(model: type[Options], seeds: bool) -> list[flags.Option]:
    marks = {name: setting.mark for name, setting in config.settings(model).items()}
    return flags.flags(model, [name for name, mark in marks.items() if seeds or "instead_of" not in mark])


def given() -> dict[str, str]:
    """The options on the command line of the running script: parameter name -> flag."""
    context = click.get_current_context()
    names = {param.name or "": param.opts[0] for param in context.command.params}
    return {n: flag for n, flag in names.items() if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}


def refuse(names: Iterable[str], why: str) -> None:
    """Raise ValueError if one of these options is given: `--fps does not apply without --film: leave it out`."""
    typed = given()
    for name in names:
        if name in typed:
            raise ValueError(f"{typed[name]} does not apply {why}: leave it out")


def check_film_name(film: str, outdir: Path) -> None:
    """Raise ValueError unless --film is a plain name, and such a film can be written to --outdir."""
    if Path(film).name != film or film == "..":
        raise ValueError(f"--film {film}: it is written to --outdir, so give a plain name")
    check_film(outdir / film, "--film")


def write_record(
    script: str, opened: Opened, resolved: Mapping[str, Any] | None = None, of: str = "", **facts: Any
) -> None:
    """Write `SCRIPT.json`, or the record `of` a file, beside the pictures: command, network, every option, and `facts`.

    `resolved` replaces the value of an option whose effective value differs from what was typed (`auto`, a default).
    """
    file, device = str(opened.file), opened.sampler.device.type
    meant: dict[str, Any] = {"network": file, "device": device, "precision": opened.precision}
    params = click.get_current_context().params
    for name, setting in config.settings(type(opened.options)).items():
        value = getattr(opened.options, name)
        if name in params and params[name] is None:  # a default, which the family decides
            meant[setting.mark["flag"].lstrip("-")] = value
        if value is not None and (replaced := setting.mark.get("instead_of")):
            meant[replaced] = None
    runtime = {"onnxruntime": version("onnxruntime")} if params.get("engine") == "onnxruntime" else {}
    about = {"network": file, "kimg": opened.file.metadata.get("kimg"), **runtime, **facts}
    record_files(script, opened.outdir / f"{of or script}.json", about, meant | dict(resolved or {}))


def record_files(script: str, path: Path, facts: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """Write a JSON file: how `script` made the files beside it, and `facts`, without the secrets of URLs.

    `resolved` are effective values of options, which replace what was typed.
    """
    context = click.get_current_context()
    typed = {param.opts[0].lstrip("-"): context.params[param.name or ""] for param in context.command.params}
    record = {
        "command": public_command(f"{script}.py", sys.argv[1:]),
        **public_values(dict(facts)),
        "options": public_values({name: _plain(value) for name, value in (typed | dict(resolved)).items()}),
        "torch": torch.__version__,
    }
    with replacing(path) as file:
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """An option's value for JSON; seeds as on the command line: `0-3,8`."""
    if isinstance(value, Path):
        return str(value)
    if not (isinstance(value, list) and value and all(isinstance(item, int) for item in value)):
        return value
    firsts = [n for n, seed in enumerate(value) if not n or seed != value[n - 1] + 1]
    runs = [(value[start], value[end - 1]) for start, end in zip(firsts, [*firsts[1:], len(value)], strict=True)]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
