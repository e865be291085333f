"""A network opened for sampling, as the scripts' common options ask for it, and how it makes pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.pixels import MODES
from imaging.sizes import spell
from imaging.transforms import NAMES
from models.families import NetworkFile, read_network
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.latents import truncate
from models.stylegan2.sampling import seeds_to_ws, ws_to_pixels
from sampling.classes import class_names, find_class, listed, titled
from sampling.latentfile import Latents
from torch_utils.cli import say
from torch_utils.device import Precision, resolve_device, resolve_precision, set_precision
from torch_utils.paths import check_folder
from torch_utils.runs import newest_network

RUNS = Path("runs")
BUNDLED = Path(__file__).parents[1] / "assets" / "faces64.safetensors"


@dataclass(frozen=True)
class Sampler:
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
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what the network's file says besides

    def ws(self, seeds: Sequence[int], psi: float | None = None) -> Iterator[Tensor]:
        """The truncated w of each seed and its class, [L, D]; `psi` takes the place of the option's."""
        return seeds_to_ws(self.G, seeds, self._classes(seeds), self.psi if psi is None else psi, self.cutoff)

    def pixels(self, ws: Iterable[Tensor], seeds: Iterable[int]) -> Iterator[Tensor]:
        """The picture of each w, uint8 [C, H, W]; `seeds` are those of random noise."""
        return ws_to_pixels(self.G, ws, seeds, self.noise_mode, self.batch)

    def latent_pixels(self, latents: Latents) -> Iterator[Tensor]:
        """The picture of each latent of a file, truncated as seeds are; its noise, if any, is used as constant."""
        ws = truncate(latents.ws, self.G.mapping.w_average, self.psi, self.cutoff)
        maps = latents.maps if self.noise_mode == "const" else None
        return ws_to_pixels(self.G, ws, range(len(ws)), self.noise_mode, self.batch, maps)

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return self.G.mapping.w_average.device

    def _classes(self, seeds: Sequence[int]) -> list[int] | None:
        classes = self.G.config.classes
        if not classes:
            return None
        return [seed % classes if self.label is None else self.label for seed in seeds]


def open_sampler(
    network: Path | None,
    label: str | None,
    outdir: Path,
    device: str,
    precision: str,
    batch: int,
    psi: float = 1.0,
    psi_cutoff: int | None = None,
    noise_mode: NoiseMode = "const",
    seeded: bool = True,
) -> Sampler:
    """Loads the network, checks the options against it, and says which network and classes they mean.

    Whether there can be a folder for the pictures is found out first. `seeded` is False where no picture comes from a
    seed, whose classes would be worth telling.

    Raises:
        FileNotFoundError: when there is no such network, or none was named and none is found.
        ValueError: when the file is no network, or an option does not fit it or this machine.
    """
    check_folder(outdir, f"--outdir {outdir}")
    where = resolve_device(device)
    number_format = resolve_precision(precision, where)
    file = read_network(network or _default_network())
    G = _generator(file, where, number_format)
    chosen = _class(label, file, G.config.classes)
    _check_cutoff(psi_cutoff, G.config.num_ws)
    _introduce(file, G, chosen, seeded)
    kimg = file.metadata.get("kimg")
    return Sampler(file.path, kimg, G, number_format, chosen, psi, psi_cutoff, noise_mode, batch, outdir, file.metadata)


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
    return G.set_precision(precision).to(device).fold()


def _class(text: str | None, file: NetworkFile, classes: int) -> int | None:
    if text is None:
        return None
    if not classes:
        raise ValueError(f"--class {text} does not apply, for {file.path} has no classes: leave it out")
    return find_class(text, class_names(file.metadata, classes))


def _check_cutoff(cutoff: int | None, num_ws: int) -> None:
    if cutoff is not None and cutoff > num_ws:
        raise ValueError(f"--psi-cutoff {cutoff}: this network has {num_ws} layers of w, wanted 0 to {num_ws}")


def _introduce(file: NetworkFile, G: Generator, label: int | None, seeded: bool) -> None:
    """Says which network it is and which classes it is asked for."""
    config, kimg = G.config, file.metadata.get("kimg")
    age = "" if kimg is None else f", {kimg:g} kimg"
    say(f"network {file.path}: {spell(config.height, config.width)} {NAMES[MODES[config.channels]]}{age}")
    names = class_names(file.metadata, config.classes)
    if label is not None:
        say(f"class {'of all pictures' if seeded else 'to start from'}: {titled(label, names)}")
    elif names and seeded:
        say(f"class of each picture: seed mod {len(names)} ({listed(names)})")
