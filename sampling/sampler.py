"""A network opened for sampling, as the scripts' common options ask for it, and how it makes pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imaging.pixels import MODES
from imaging.sizes import spell
from imaging.transforms import NAMES
from models.families import NetworkFile, read_network
from models.stylegan2.anchors import Anchors
from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator, NoiseMode
from models.stylegan2.latentfile import Latents
from models.stylegan2.latents import truncate
from models.stylegan2.styles import Samplable, seeds_to_ws, ws_to_pixels
from sampling.classes import class_names, classes_of_seeds, find_class, learned_classes, listed, titled
from torch_utils.cli import say
from torch_utils.device import Precision, resolve_device, resolve_precision, slow_precision
from torch_utils.paths import check_folder
from torch_utils.runs import newest_network

RUNS = Path("runs")
BUNDLED = Path(__file__).parents[1] / "assets" / "faces64.safetensors"


@dataclass(frozen=True)
class Sampler:
    """A generator on its device, and how pictures are made with it."""

    file: NetworkFile
    G: Samplable
    precision: Precision
    label: int | None  # the class of all pictures; None takes seed mod classes learned
    psi: float
    cutoff: int | None
    anchors: Anchors  # what psi pulls towards
    noise_mode: NoiseMode
    batch: int
    outdir: Path

    @property
    def path(self) -> Path:
        """The network's file."""
        return self.file.path

    @property
    def kimg(self) -> float | None:
        """Thousands of real images that its training saw; None when the file does not say."""
        return self.file.metadata.get("kimg")

    def stylegan2(self, option: str) -> Generator:
        """The generator, for an `option` or a script that works on its inside.

        Raises:
            ValueError: when it is of another family, which can be sampled from alone.
        """
        self.file.require(FAMILY, option)
        assert isinstance(self.G, Generator)
        return self.G

    def ws(self, seeds: Sequence[int], psi: float | None = None) -> Iterator[Tensor]:
        """The truncated w of each seed and its class, [L, D]; `psi` takes the place of the option's."""
        labels = self.labels(seeds)
        of_network = labels if self.G.config.classes else None
        for w, label in zip(seeds_to_ws(self.G, seeds, of_network), labels, strict=True):
            yield self.truncated(w[None], [label], psi)[0]

    def truncated(self, ws: Tensor, labels: Sequence[int | None], psi: float | None = None) -> Tensor:
        """Whole w [N, L, D] of the classes `labels`, truncated as the options say."""
        psi = self.psi if psi is None else psi
        return truncate(ws, self.anchors.of(ws, labels)[:, None], psi, self.cutoff)

    def pixels(
        self, ws: Iterable[Tensor], seeds: Iterable[int], maps: Iterable[Sequence[Tensor]] | None = None
    ) -> Iterator[Tensor]:
        """The picture of each w, uint8 [C, H, W].

        `seeds` are those of random noise; `maps` of each picture is its constant noise, in the place of the network's.
        """
        maps = maps if self.noise_mode == "const" else None
        return ws_to_pixels(self.G, ws, seeds, self.noise_mode, self.batch, maps)

    def latent_ws(self, ws: Tensor) -> Tensor:
        """The w [N, L, D] of a file, truncated as those of seeds are."""
        return self.truncated(ws, [self.label] * len(ws))

    def latent_pixels(self, latents: Latents) -> Iterator[Tensor]:
        """The picture of each latent of a file, truncated; its noise, if any, is used as constant."""
        return self.pixels(self.latent_ws(latents.ws), range(len(latents.ws)), latents.noises)

    def check_latents(self) -> None:
        """Make sure that with --latents, --class is given if and only if --centers of a network with classes need it.

        Raises:
            ValueError: when it is given without --centers, or missing with --centers on a network with classes.
        """
        centered = self.anchors.count is not None
        if self.label is not None and not centered:
            raise ValueError("--class does not apply, for --latents have theirs in them: leave it out")
        if centered and self.label is None and self.G.config.classes:
            raise ValueError("--centers are those of a class, and --latents do not say theirs: name it by --class")

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return self.G.mapping.w_average.device

    def labels(self, seeds: Sequence[int]) -> list[Any]:
        """The class of each seed; None for each where there are no classes."""
        classes = self.G.config.classes
        if not classes:
            return [None] * len(seeds)
        if self.label is not None:
            return [self.label] * len(seeds)
        return list(classes_of_seeds(seeds, self.file.metadata, classes))


def open_sampler(
    network: Path | str | None,
    label: str | None,
    outdir: Path,
    device: str,
    precision: str,
    batch: int,
    psi: float = 1.0,
    centers: int | None = None,
    psi_cutoff: int | None = None,
    noise_mode: NoiseMode = "const",
    seeded: bool = True,
) -> Sampler:
    """Loads the network, checks the options against it, and says which network and classes they mean.

    Whether there can be a folder for the pictures is found out first. `seeded` is False where no picture comes from a
    seed, whose class would be worth telling.

    Raises:
        FileNotFoundError: when there is no such network, or none was named and none is found.
        ValueError: when the file is no network, or an option does not fit it or this machine.
    """
    check_folder(outdir, f"--outdir {outdir}")
    _check_centers(centers, psi)
    where = resolve_device(device)
    number_format = resolve_precision(precision, where)
    if slow := slow_precision(number_format, where):
        say(f"note: {slow}")
    file = read_network(network or _default_network())
    G = _generator(file, where, number_format)
    chosen = _class(label, file, G.config.classes)
    check_cutoff(psi_cutoff, G.config.num_ws)
    _introduce(file, G, chosen, seeded)
    anchors = Anchors(G, centers)
    return Sampler(file, G, number_format, chosen, psi, psi_cutoff, anchors, noise_mode, batch, outdir)


def _default_network() -> Path:
    found = newest_network(RUNS) or (BUNDLED if BUNDLED.is_file() else None)
    if found is None:
        raise FileNotFoundError(
            f"no --network was given, and neither {RUNS} nor {BUNDLED.parent.name} holds one: "
            f"train one with train.py, or name a network-….safetensors file"
        )
    return found


def _generator(file: NetworkFile, device: torch.device, precision: Precision) -> Samplable:
    G: Any = file.part("G_ema")
    return G.set_precision(precision).to(device).fold()


def _class(text: str | None, file: NetworkFile, classes: int) -> int | None:
    if text is None:
        return None
    if not classes:
        raise ValueError(f"--class {text} does not apply, for {file} has no classes: leave it out")
    return find_class(text, class_names(file.metadata, classes))


def check_cutoff(cutoff: int | None, num_ws: int) -> None:
    if cutoff is not None and cutoff > num_ws:
        raise ValueError(f"--psi-cutoff {cutoff}: this network has {num_ws} layers of w, wanted 0 to {num_ws}")


def _check_centers(centers: int | None, psi: float) -> None:
    if centers is not None and psi == 1:
        raise ValueError(
            f"--centers {centers} says what --psi pulls towards, and --psi 1 does not pull: "
            f"give it as well, such as --psi 0.5, or leave --centers out"
        )


def _introduce(file: NetworkFile, G: Samplable, label: int | None, seeded: bool) -> None:
    """Says which network it is and which classes it is asked for."""
    config = G.config
    age = f", {file.metadata['kimg']:g} kimg" if "kimg" in file.metadata else ""
    say(f"network {file}: {spell(config.height, config.width)} {NAMES[MODES[config.channels]]}{age}")
    names = class_names(file.metadata, config.classes)
    if label is not None:
        say(f"class{' of all pictures' if seeded else ''}: {titled(label, names)}")
    elif names and seeded:
        learned = learned_classes(file.metadata, config.classes)
        which = "seed mod" if len(learned) == len(names) else f"of the {len(names)} those that were learned, seed mod"
        say(f"class of each picture: {which} {len(learned)} ({listed(names, learned)})")
