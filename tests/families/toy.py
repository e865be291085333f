"""A family for tests: a linear denoiser with one network, one phase and an option of its own.

It is what another family has to bring: a row for `models.families`, and a row for `training.courses`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from imaging.pixels import to_images, to_pixels
from models.family import Family, Part
from models.foreign import Converted, Foreign
from models.sampler import Options, Request, SeedStream, Shape
from torch_utils import torchfile
from torch_utils.config import build, flag
from torch_utils.device import Precision
from training.config import RunConfig
from training.course import Asked, Course, Facts
from training.phase import Phase, Term
from training.recipe import Draws, Pictures, Recipe, placed
from training.sheet import Sheet
from training.signs import Chart, Signs


class DenoiserConfig(BaseModel):
    """The size of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    height: int = Field(8, ge=1, le=64)
    width: int = Field(8, ge=1, le=64)
    channels: int = Field(3, ge=1, le=4)
    classes: int = Field(0, ge=0, le=100)


class Denoiser(nn.Module):
    """Estimates a picture from the picture plus noise, by a gain for each number and a bias for each class."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        size = (config.channels, config.height, config.width)
        self.gain = nn.Parameter(torch.full(size, 0.5))
        self.bias = nn.Parameter(torch.randn(max(config.classes, 1), *size) * 0.1)

    def forward(self, noisy: Tensor, labels: Tensor) -> Tensor:
        """Noisy pictures [N, C, H, W] and class numbers [N] -> pictures [N, C, H, W]."""
        return noisy * self.gain + self.bias[labels]

    def set_precision(self, precision: Precision) -> Self:
        """Every precision computes in float32."""
        return self


class ToyOptions(Options):
    """The options of the pictures."""

    sweeps: int = flag(4, "--sweeps", "Pictures", "steps from noise to a picture", ge=1, le=100)
    guide: str = flag("", "--guide", "Pictures", "a worse denoiser, which the pictures keep away from", opens=True)


class ToySampler:
    """Denoises normal noise in a few steps."""

    metadata: Mapping[str, Any] = {}

    def __init__(self, network: Denoiser, options: ToyOptions, guide: Denoiser | None = None) -> None:
        self.network, self.options, self.shape, self.guide = network, options, Shape.of(network.config), guide

    @property
    def device(self) -> torch.device:
        return self.network.gain.device

    def requests(self, seeds: Sequence[int], label: int | None = None) -> list[Request]:
        """A request for each seed; without a label its class is seed mod classes."""
        classes = self.shape.classes
        labels = [seed % classes if classes and label is None else label for seed in seeds]
        return [Request(f"seed{s:04d}", k, SeedStream(s)) for s, k in zip(seeds, labels, strict=True)]

    @torch.no_grad()
    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures, uint8 [C, H, W]."""
        for first in range(0, len(requests), at_once):
            part = requests[first : first + at_once]
            C, H, W = self.shape.channels, self.shape.height, self.shape.width
            x = torch.stack([request.stream.normal(C, H, W) for request in part]).to(self.device)
            labels = torch.tensor([request.label or 0 for request in part], device=self.device)
            for left in range(self.options.sweeps, 0, -1):
                found = self.network(x, labels)
                if self.guide is not None:
                    found = found + 2 * (found - self.guide(x, labels))
                x = x + (found - x) / left
            yield from to_pixels(x).cpu()


def _example(config: DenoiserConfig) -> tuple[Tensor, ...]:
    size = (1, config.channels, config.height, config.width)
    return torch.zeros(size, device="meta"), torch.zeros(1, dtype=torch.int64, device="meta")


def _open(networks: Mapping[str, nn.Module], options: Any, metadata: Mapping[str, Any]) -> ToySampler:
    network, guide = networks["denoiser"], networks.get("guide")
    assert isinstance(network, Denoiser)
    if guide is None:
        return ToySampler(network, options)
    if not isinstance(guide, Denoiser) or guide.config != network.config:
        raise ValueError(f"--guide {options.guide}: it is no denoiser of the same shape: take another network")
    return ToySampler(network, options, guide)


class FileOptions(Options):
    """What a file of the other program does not say."""

    height: int = flag(8, "--height", "Networks", "pixels", ge=1, le=64)
    classes: int = Field(0, ge=0, le=100)


def _convert(contents: dict[str, Tensor], path: Path, options: FileOptions) -> Converted:
    height, width = options.height, contents["gain"].numel() // options.height // 3
    size = {"height": height, "width": width, "channels": 3, "classes": options.classes}
    tensors = {"denoiser.gain": contents["gain"].reshape(3, height, width), "denoiser.bias": contents["bias"]}
    return Converted("toy", {"denoiser": size, "source": {"format": "another toy"}}, tensors)


OTHER = Foreign(
    "another toy",
    torchfile.begins_so,
    torchfile.read,
    lambda contents: set(contents) == {"gain", "bias"},
    _convert,
    FileOptions,
)

FAMILY = Family(
    name="toy",
    title="Toy",
    parts={"denoiser": Part("denoiser", DenoiserConfig, Denoiser, "the denoiser", _example)},
    shown=("denoiser",),
    options=ToyOptions,
    judged=ToyOptions(sweeps=2),
    open_sampler=_open,
    foreign=(OTHER,),
    tags=("toy",),
)


class ToyConfig(RunConfig):
    """The settings of a run."""

    model: Literal["toy"] = flag("toy", "--model", "Training", "what is trained")
    preset: Literal["auto", "demo"] = flag("auto", "--preset", "Training", "a named configuration")
    noise: float = flag(1.0, "--noise", "Training", "standard deviation of the noise", gt=0, le=10)
    lr: float = Field(0.01, gt=0, le=1, description="learning rate")
    denoiser: DenoiserConfig = DenoiserConfig()

    @property
    def shape(self) -> Shape:
        return Shape.of(self.denoiser)


class ToyRecipe(Recipe):
    """A denoiser in training."""

    def __init__(self, config: ToyConfig, facts: Facts, device: torch.device) -> None:
        self.config, self.device = config, device
        self.network = placed(Denoiser(config.denoiser), device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.lr)
        self.phases = [Phase("denoise", self.network, self.optimizer, reads_images=True)]
        self.networks = {"denoiser": self.network}
        self.optimizers = {"denoiser": self.optimizer}

    def batch(self, *sets: Pictures) -> tuple[Tensor, Tensor]:
        ((pixels, labels),) = sets
        return to_images(pixels), labels

    def losses(self, phase: Phase, batch: tuple[Tensor, Tensor], draws: Draws) -> Iterator[Term]:
        images, labels = batch
        noisy = images + self.config.noise * draws.latents("noise", *images.shape[1:])
        loss = (self.network(noisy, labels) - images).square().mean()
        yield loss, {"loss/denoise": loss}

    def judged(self) -> ToySampler:
        return ToySampler(self.network, ToyOptions(sweeps=2))

    def show(self, sheet: Sheet) -> Iterator[Tensor]:
        sampler = self.judged()
        streams = [SeedStream(i) for i in range(len(sheet.labels))]
        return sampler.sample([Request("", k, stream) for k, stream in zip(sheet.labels, streams, strict=True)])


def _settle(asked: Asked) -> tuple[RunConfig, tuple[str, ...]]:
    shape = {f"denoiser.{name}": value for name, value in asked.shape._asdict().items()}
    pace = {"pace.kimg": 0.1, "pace.batch": 8, "pace.batch_gpu": min(8, int(asked.given.get("pace.batch", 8)))}
    return build(ToyConfig, {**pace, "preset": asked.preset, **asked.given, **shape}), ()


COURSE = Course(
    title="Toy",
    family=FAMILY,
    config=ToyConfig,
    models={"toy": {}},
    settle=_settle,
    recipe=ToyRecipe,
    smallest=lambda config: config.model_copy(update={"denoiser": DenoiserConfig(height=2, width=2)}),
    smaller="smaller pictures",
    signs=Signs(
        shown={"loss/denoise": "loss"},
        charts=(Chart("denoising", ("loss/denoise",), "falls"),),
    ),
)
