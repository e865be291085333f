"""Pictures of a network of any family: `pipeline(place)(seeds=[0, 1]).images`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from image_workshop import sharing
from imaging.grid import tile
from imaging.pixels import to_pil
from models.families import NetworkFile, check_samples, open_sampler, read_network
from models.sampler import Options, Sampler
from sampling.classes import class_names, find_class
from sampling.command import find
from torch_utils import config
from torch_utils.device import Precision, resolve_device, resolve_precision, switches


@dataclass(frozen=True)
class Pictures:
    """What a pipeline made, in the order of the seeds."""

    pixels: Tensor  # uint8 [N, C, H, W], on the device of the pipeline

    @cached_property
    def images(self) -> list[Image.Image]:
        """The pictures for PIL."""
        return [to_pil(each) for each in self.pixels]

    def sheet(self, columns: int = 8) -> Image.Image:
        """All pictures as one, `columns` in a row; small ones enlarged."""
        return tile(self.pixels.cpu(), min(columns, len(self.pixels)), enlarged=True)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        self.sheet().save(buffer, "PNG")
        return buffer.getvalue()


class Pipeline:
    """A network that makes pictures, with the options of its family. `pipeline` opens one."""

    def __init__(self, file: NetworkFile, device: torch.device, precision: Precision, options: dict[str, Any]) -> None:
        check_samples(file)
        self.file, self.device, self.precision, self.defaults = file, device, precision, options
        self.sampler = self._open(options)

    @classmethod
    def from_pretrained(
        cls, place: str | Path | None = None, device: str = "auto", precision: str = "auto", **options: Any
    ) -> Self:
        """Open a network. Arguments and errors as of `pipeline`."""
        found = resolve_device(device)
        return cls(read_network(find(place)), found, resolve_precision(precision, found), options)

    @property
    def options(self) -> Options:
        """The options of the family, with the values of the last pictures."""
        options: Options = self.sampler.options
        return options

    @property
    def classes(self) -> list[str]:
        """The names of the classes; empty without classes."""
        return class_names(self.sampler.metadata, self.sampler.shape.classes)

    def __call__(
        self,
        seeds: int | Sequence[int] = 0,
        label: int | str | None = None,
        batch: int = 1,
        **options: Any,
    ) -> Pictures:
        """Make a picture for each seed: on a CPU the bytes of `generate.py`.

        Args:
            seeds: 0 to 2^32 - 1.
            label: number or name of the class of all pictures; without it a seed's class is seed mod classes.
            batch: pictures that a GPU computes at once. A CPU computes one.
            options: of the family, in place of those given to `pipeline`: psi, noise_mode, steps, cfg_scale ...

        Raises:
            ValueError: an option or the class does not fit the network.
        """
        wanted = self._built(self.defaults | options)
        if wanted != self.sampler.options:
            self.sampler = self._open(self.defaults | options)
        asked = self.sampler.requests([seeds] if isinstance(seeds, int) else list(seeds), self._class(label))
        if not asked:
            raise ValueError("seeds is empty: give at least one")
        at_once = 1 if self.device.type == "cpu" else batch
        with switches(self.precision, trial=False), torch.no_grad():
            return Pictures(torch.stack(list(self.sampler.sample(asked, at_once))))

    def save_pretrained(self, folder: str | Path, license: str = "") -> Path:
        """Write the networks of the file to a folder of the Hub, as `image_workshop.save_pretrained`."""
        return sharing.save_pretrained(self.file, folder, license)

    def push_to_hub(self, name: str, license: str = "", private: bool = False) -> str:
        """Upload the networks of the file to USER/NAME on the Hub, as `image_workshop.push_to_hub`."""
        return sharing.push_to_hub(self.file, name, license, private=private)

    def _built(self, options: dict[str, Any]) -> Options:
        return config.build(self.file.family.options, options)

    def _open(self, options: dict[str, Any]) -> Sampler:
        return open_sampler(self.file, self._built(options), self.device, self.precision)

    def _class(self, label: int | str | None) -> int | None:
        if label is not None and not self.classes:
            raise ValueError(f"label {label!r} does not apply, because {self.file} has no classes: leave it out")
        return None if label is None else find_class(str(label), self.classes)


def pipeline(
    place: str | Path | None = None, device: str = "auto", precision: str = "auto", **options: Any
) -> Pipeline:
    """Open a network of any family for its pictures.

        pipe = pipeline("ffhq256", psi=0.7)
        pipe(seeds=[0, 1]).images[0].save("face.png")

    Args:
        place: a network file, a run folder, a URL, `hf://USER/NAME` or a name of `list_networks`;
            None is the newest network in `runs`, or else the bundled one.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" (fp32), "fp32", "tf32", "bf16" or "fp16".
        options: of the family, for all pictures that do not say otherwise.

    Raises:
        FileNotFoundError or ValueError: the network cannot be read, an option does not fit it, or its family makes no
        pictures of seeds.
    """
    return Pipeline.from_pretrained(place, device, precision, **options)
