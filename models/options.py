"""The options that every sampling script shares, and what they mean: a network, and how pictures are made with it."""

import functools
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from imaging.pixels import MODES
from imaging.sizes import spell
from models.families import NetworkFile, read_network
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.sampling import seeds_to_ws, ws_to_pixels
from torch_utils.atomic import replacing
from torch_utils.cli import SeedList, option, say
from torch_utils.device import Precision, is_out_of_memory, resolve_device, resolve_precision, set_precision
from torch_utils.runs import newest_network

RUNS = Path("runs")
BUNDLED = Path(__file__).parents[1] / "assets" / "faces64.safetensors"
NAMED_AT_MOST = 20  # classes in a sentence


@dataclass(frozen=True)
class Sampling:
    """A generator on its device, and how pictures are made with it."""

    path: Path
    kimg: float | None  # thousands of real images that its training saw; None when the file does not say
    G: Generator
    precision: Precision
    label: int | None  # the class of all pictures; None takes seed mod classes
    psi: float
    cutoff: int | None
    noise_mode: NoiseMode
    batch: int
    outdir: Path

    def ws(self, seeds: Sequence[int], psi: float | None = None) -> Iterator[Tensor]:
        """The truncated w of each seed and its class, [L, D]; `psi` takes the place of the option's."""
        return seeds_to_ws(self.G, seeds, self._classes(seeds), self.psi if psi is None else psi, self.cutoff)

    def pixels(self, ws: Iterable[Tensor], seeds: Iterable[int]) -> Iterator[Tensor]:
        """The picture of each w, uint8 [C, H, W]; `seeds` are those of random noise."""
        return ws_to_pixels(self.G, ws, seeds, self.noise_mode, self.batch)

    def record(self, script: str) -> None:
        """Writes `SCRIPT.json` beside the pictures: the command, the network and every option."""
        context = click.get_current_context()
        options = {param.opts[0].lstrip("-"): _plain(context.params[param.name or ""]) for param in context.command.params}
        facts = {
            "command": shlex.join(["python", f"{script}.py", *sys.argv[1:]]),
            "network": str(self.path),
            "kimg": self.kimg,
            "options": options
            | {"device": self.G.mapping.w_average.device.type, "precision": self.precision, "network": str(self.path)},
            "torch": torch.__version__,
        }
        with replacing(self.outdir / f"{script}.json") as file:
            file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _classes(self, seeds: Sequence[int]) -> list[int] | None:
        classes = self.G.config.classes
        if not classes:
            return None
        return [seed % classes if self.label is None else self.label for seed in seeds]


def sampling_options(seeds: str | None = None, psi: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a script the common options. Its function gets a `Sampling`, then its own options by name.

    Args:
        seeds: default of `--seeds`, which the function gets as `seeds`; None leaves the option out.
        psi: False leaves `--psi` out.
    """
    options = [
        *_NETWORK_OPTIONS,
        *([_seeds_option(seeds)] if seeds else []),
        *([_PSI_OPTION] if psi else []),
        *_OTHER_OPTIONS,
    ]

    def decorate(script: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(script)
        def resolved(
            network: Path | None,
            label: str | None,
            psi_cutoff: int | None,
            noise_mode: NoiseMode,
            outdir: Path,
            device: str,
            precision: str,
            batch: int,
            psi: float = 1.0,
            **own: Any,
        ) -> Any:
            place = resolve_device(device)
            exact = resolve_precision(precision, place)
            file = read_network(network or _default_network())
            G = _generator(file, place, exact)
            chosen = _class(label, file, G.config.classes)
            _check_cutoff(psi_cutoff, G.config.num_ws)
            _introduce(file, G, chosen)
            sampling = Sampling(
                file.path, file.metadata.get("kimg"), G, exact, chosen, psi, psi_cutoff, noise_mode, batch, outdir
            )
            return _with_memory_explained(lambda: script(sampling, **own), place, batch)

        for add in reversed(options):
            resolved = add(resolved)
        return resolved

    return decorate


def _finite(context: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"got {value}, wanted a number such as 0.7")
    return value


def _seeds_option(default: str) -> Callable[..., Any]:
    return option("--seeds", type=SeedList(), default=default, group="Pictures", help="one picture for each")


_PSI_OPTION = option(
    "--psi",
    "--trunc",
    type=float,
    default=1.0,
    callback=_finite,
    group="Pictures",
    help="truncation: 1 full variety, towards 0 the average image",
)
_NETWORK_OPTIONS = [
    option(
        "--network",
        type=click.Path(path_type=Path),
        group="Network",
        help="network-….safetensors file; without it the newest network of the newest run in runs, else the bundled one",
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
        help="number format of the convolutions; auto is fp32 on a CPU, bf16 or fp16 on a GPU",
    ),
    option(
        "--batch",
        type=click.IntRange(min=1),
        default=1,
        group="Device",
        help="pictures that a GPU computes at once: more is faster, and may change pixels by a grey level",
    ),
]


def _default_network() -> Path:
    found = newest_network(RUNS) or (BUNDLED if BUNDLED.is_file() else None)
    if found is None:
        raise FileNotFoundError(
            f"no --network was given, and neither {RUNS} nor {BUNDLED.parent.name} holds one: "
            f"train one with train.py, or name a network-….safetensors file"
        )
    return found


def _generator(file: NetworkFile, device: torch.device, precision: Precision) -> Generator:
    G = file.part("G_ema")
    assert isinstance(G, Generator)
    set_precision(precision)
    # Trying which algorithm is fastest may end differently each time, and with it the rounding of a picture.
    torch.backends.cudnn.benchmark = False
    return G.set_precision(precision).to(device)


def _class_names(metadata: Mapping[str, Any], classes: int) -> list[str]:
    names = (metadata.get("data") or {}).get("class_names") or []
    return [str(name) for name in names] if len(names) == classes else [str(k) for k in range(classes)]


def _class(text: str | None, file: NetworkFile, classes: int) -> int | None:
    """The class a name or a number means. A name goes first: every class has one, so each can be reached."""
    if text is None:
        return None
    if not classes:
        raise ValueError(f"--class {text} does not apply, for {file.path} has no classes: leave it out")
    names = _class_names(file.metadata, classes)
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdigit() and int(text) < classes:
        return int(text)
    raise ValueError(f"--class {text} is none of the {classes} classes of {file.path}: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    more = f", ... up to {len(names) - 1}" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(_titled(k, name) for k, name in enumerate(names[:NAMED_AT_MOST])) + more


def _titled(number: int, name: str) -> str:
    return name if name == str(number) else f"{number} {name}"


def _check_cutoff(cutoff: int | None, num_ws: int) -> None:
    if cutoff is not None and cutoff > num_ws:
        raise ValueError(f"--psi-cutoff {cutoff}: this network has {num_ws} layers of w, wanted 0 to {num_ws}")


def _introduce(file: NetworkFile, G: Generator, label: int | None) -> None:
    """Says which network it is and which classes it is asked for."""
    config, kimg = G.config, file.metadata.get("kimg")
    age = "" if kimg is None else f", {kimg:g} kimg"
    say(f"network {file.path}: {spell(config.height, config.width)} {MODES[config.channels]}{age}")
    names = _class_names(file.metadata, config.classes)
    if names and label is None:
        say(f"class of each picture: seed mod {len(names)} ({_listed(names)})")
    elif label is not None:
        say(f"class of all pictures: {_titled(label, names[label])}")


def _with_memory_explained(run: Callable[[], Any], device: torch.device, batch: int) -> Any:
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "choose --device cpu" if batch == 1 else f"take a --batch smaller than {batch}"
        raise ValueError(f"the memory of {device.type} ran out: {remedy}, or stop what else runs there") from error


def _plain(value: Any) -> Any:
    """An option's value as JSON says it; lists of seeds short, as they are spelled on the command line."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return _spell_seeds(value)
    return value


def _spell_seeds(seeds: Sequence[int]) -> str:
    ranges: list[list[int]] = []
    for seed in seeds:
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
