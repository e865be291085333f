"""Opens the network that --network names, of any family, with the options that its family offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.classes import learned_classes
from models.families import FAMILIES, NetworkFile, open_sampler, read_network
from models.sampler import Options, Request, Sampler, Shape
from sampling.classes import class_names, find_class, kind_of, listed, titled
from system.files import check_folder
from torch_utils import config, flags
from torch_utils.cli import More, say
from torch_utils.device import Precision, resolve_device, resolve_precision, slow_precision
from torch_utils.runs import newest_network

RUNS = Path("runs")
BUNDLED = Path(__file__).parents[1] / "assets" / "faces64.safetensors"


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


def find(network: str | Path | None) -> str | Path:
    """The place that --network names, or without it the newest network in `RUNS`, or the bundled one.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = network or newest_network(RUNS) or (BUNDLED if BUNDLED.is_file() else None)
    if found is None:
        raise FileNotFoundError(
            f"no --network was given, and neither {RUNS} nor {BUNDLED.parent.name} holds one: "
            f"train one with train.py, or name a network-….safetensors file"
        )
    return found


def learn(params: Mapping[str, Any], judging: bool = False) -> More:
    """The options of the network that the common options name: `more` of a `Command`.

    --help downloads nothing: it shows a network's options only if the network is on this machine.

    Args:
        params: values of the common options, and "help".
        judging: leaves out what takes the place of seeds, and shows the defaults that metrics use.
    """
    place = params.get("network")
    if place == "" or (judging and place is None):
        return More("", [], note=_NO_NETWORK if params["help"] else "")
    if params["help"] and place is not None and not Path(place).exists():
        return More("", [], note=f"The options of {place} are not shown, because it is not on this machine.")
    if not params["help"] and params.get("outdir") is not None:
        check_folder(params["outdir"], f"--outdir {params['outdir']}")
    file = read_network(find(place))
    options = family_flags(file.family.options, judging)
    if judging:
        for option in options:
            option.shown = config.spell(getattr(file.family.judged, option.name or "")) or None
    others = {f.title: family_flags(f.options, judging) for f in FAMILIES.values() if f is not file.family}
    return More(f"{file.path.name} ({file.family.title})", options, others, found=file)


_NO_NETWORK = "With --network, --help also shows the options of that network."


def family_flags(model: type[Options], judging: bool = False) -> list[flags.Option]:
    """The flags of a family's options; `judging` leaves out what takes the place of seeds."""
    marks = {name: setting.mark for name, setting in config.settings(model).items()}
    return flags.flags(model, [name for name, mark in marks.items() if not (judging and "instead_of" in mark)])


def open_network(
    file: NetworkFile,
    options: Options,
    label: str | None,
    outdir: Path,
    device: str,
    precision: str,
    batch: int,
    seeded: bool = True,
) -> Opened:
    """Build the network, check the options against it, and print which network and classes they mean.

    `seeded` is False if no picture comes from a seed, whose class would be worth printing.

    Raises:
        FileNotFoundError, ValueError: if an option does not fit the network or this machine.
    """
    check_folder(outdir, f"--outdir {outdir}")
    where = resolve_device(device)
    number_format = resolve_precision(precision, where)
    if slow := slow_precision(number_format, where):
        say(f"note: {slow}")
    sampler = open_sampler(file, options, where, number_format)
    chosen = _class(label, file, sampler.shape.classes)
    _introduce(file, sampler.shape, chosen, seeded)
    return Opened(file, sampler, options, number_format, chosen, batch, outdir)


def _class(text: str | None, file: NetworkFile, classes: int) -> int | None:
    if text is None:
        return None
    if not classes:
        raise ValueError(f"--class {text} does not apply, because {file} has no classes: leave it out")
    return find_class(text, class_names(file.metadata, classes))


def _introduce(file: NetworkFile, shape: Shape, label: int | None, seeded: bool) -> None:
    """Print which network it is and which classes its pictures have."""
    age = f", {file.metadata['kimg']:g} kimg" if "kimg" in file.metadata else ""
    say(f"network {file}: {kind_of(shape)}{age}")
    names = class_names(file.metadata, shape.classes)
    if label is not None:
        say(f"class{' of all pictures' if seeded else ''}: {titled(label, names)}")
    elif names and seeded:
        learned = learned_classes(file.metadata, shape.classes)
        which = "seed mod" if len(learned) == len(names) else f"of the {len(names)} those that were learned, seed mod"
        say(f"class of each picture: {which} {len(learned)} ({listed(names, learned)})")
