"""A second family for tests, as unlike StyleGAN2 as a style transfer network or a noisy classifier.

Two image sets, no pictures of seeds, two sizes with a slash in their names, two optimizers, two averages, a rate that
warms up, clipped gradients, and statistics by buckets that some ticks leave empty.
"""

from collections.abc import Iterator
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from imaging.dataset import DataConfig
from models.family import Family, Part, Shape
from torch_utils.config import build, flag
from torch_utils.device import Precision
from torch_utils.stats import Some
from training.config import AverageConfig, RunConfig, largest_divisor, share_of
from training.course import Asked, Course, Facts
from training.phase import Phase, Term, decay_groups, warm_up
from training.recipe import Average, Draws, Pictures, Recipe, placed
from training.signs import Chart, Signs

BUCKETS = ("loss/t 0-249", "loss/t 250-499", "loss/t 500-749", "loss/t 750-999")
STYLES = {"styles.path": "demo:24", "styles.max_images": 12}
RARE = 0.05  # share of the highest level of noise: many ticks see none


class WidthConfig(BaseModel):
    """The size of a network. Pictures may be of any size."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    channels: int = Field(3, ge=1, le=4)
    features: int = Field(4, ge=1, le=64)


class Encoder(nn.Module):
    """Pictures [N, C, H, W] -> mean features [N, F]."""

    layer: nn.Module

    def __init__(self, config: WidthConfig) -> None:
        super().__init__()
        self.config = config
        self.layer: nn.Module = nn.Conv2d(config.channels, config.features, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layer(pictures).relu().mean((2, 3))

    def set_precision(self, precision: Precision) -> Self:
        """Every precision computes in float32."""
        return self


class Head(Encoder):
    """Features [N, F] of a content and of a style -> a score [N]."""

    def __init__(self, config: WidthConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.layer = nn.Linear(2 * config.features, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(features).squeeze(1)


def _picture(config: WidthConfig) -> tuple[Tensor, ...]:
    return (torch.zeros(1, config.channels, 16, 16, device="meta"),)


def _features(config: WidthConfig) -> tuple[Tensor, ...]:
    return (torch.zeros(1, 2 * config.features, device="meta"),)


FAMILY = Family(
    name="pair",
    title="Pair",
    parts={
        "fast": Part("encoder", WidthConfig, Encoder, "the encoder, averaged over a short time", _picture),
        "slow": Part("encoder", WidthConfig, Encoder, "the encoder, averaged over a long time", _picture),
        "encoder": Part("encoder", WidthConfig, Encoder, "the encoder as trained", _picture),
        "head": Part("head", WidthConfig, Head, "the head", _features),
    },
    shown=(),
    shape=lambda config: Shape(0, 0, config.channels, 0),
    script="",
    tags=("pair",),
)


class StylesConfig(DataConfig):
    """The second image set."""

    path: str = flag("demo", "--styles", "Data", "the styles, as --data")
    labels: Literal["auto", "none", "folders"] = Field("none", description="classes")
    mirror: bool = Field(False, description="show every style also mirrored")
    max_images: int = flag(0, "--max-styles", "Data", "use only this many styles", ge=0)


class AveragesConfig(AverageConfig):
    """Two half-lives."""

    kimg: tuple[float, ...] = Field((0.01, 0.05), description="half-lives in thousands of images")  # type: ignore[assignment]


class PairConfig(RunConfig):
    """The settings of a run."""

    model: Literal["pair-s/2", "pair-b/4"] = flag("pair-s/2", "--model", "Training", "what is trained")
    preset: Literal["auto", "demo"] = flag("auto", "--preset", "Training", "a named configuration")
    metrics: str = flag("none", "--metrics", "Output", "none")
    warm_up: float = flag(0.02, "--warm-up", "Training", "kimg in which the learning rate rises", ge=0)
    styles: StylesConfig = StylesConfig()
    average: AveragesConfig = AveragesConfig()
    encoder: WidthConfig = WidthConfig()
    head: WidthConfig = WidthConfig()
    contents: tuple[int, ...] = Field((16, 16, 3, 0), description="height, width, channels, classes of --data")
    paintings: tuple[int, ...] = Field((16, 16, 3, 0), description="of --styles")

    @property
    def shape(self) -> Shape:
        return Shape(*self.contents)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"data": self.shape, "styles": Shape(*self.paintings)}


class PairRecipe(Recipe):
    """Tells the styles of noisy pictures from their contents."""

    def __init__(self, config: PairConfig, facts: Facts, device: torch.device) -> None:
        assert not facts.sets or list(facts.sets) == ["data", "styles"]
        self.config, self.device = config, device
        encoder, head = placed(Encoder(config.encoder), device), placed(Head(config.head), device)
        adamw = torch.optim.AdamW(decay_groups(encoder, 0.1), 0.01)
        adam = torch.optim.Adam(head.parameters(), 0.01)
        self.phases = [
            Phase("encode", encoder, adamw, reads_images=True, rate=warm_up(round(1000 * config.warm_up)), clip=0.5),
            Phase("judge", head, adam, interval=2, reads_images=True),
        ]
        self.encoder, self.head = encoder, head
        self.averages = [Average(encoder, 1000 * kimg, config.average.ramp) for kimg in config.average.kimg]
        self.networks = {
            "fast": self.averages[0].network,
            "slow": self.averages[1].network,
            "encoder": encoder,
            "head": head,
        }
        self.optimizers = {"encoder": adamw, "head": adam}

    def batch(self, *sets: Pictures) -> tuple[Tensor, Tensor]:
        contents, styles = (pixels.float() / 255 for pixels, _ in sets)
        return contents, styles

    def losses(self, phase: Phase, batch: tuple[Tensor, Tensor], draws: Draws) -> Iterator[Term]:
        contents, styles = batch
        t = 1 - (1 - draws.uniforms("t")) ** RARE if phase.name == "encode" else draws.uniforms("t")
        noisy = contents + t[:, None, None, None] * draws.latents("noise", *contents.shape[1:])
        features = torch.cat([self.encoder(noisy), self.encoder(styles)], 1)
        loss = (self.head(features) - 1).square()
        level = (t * len(BUCKETS)).long()
        reports = {f"loss/{phase.name}": loss.mean()}
        if phase.name == "encode":
            reports |= {name: Some(loss, level == i) for i, name in enumerate(BUCKETS)}
        yield loss.mean(), reports

    def measure(self) -> dict[str, float]:
        return {"held out/loss": float(next(self.head.parameters()).square().mean())}


def _settle(asked: Asked) -> tuple[RunConfig, tuple[str, ...]]:
    images = {"contents": tuple(asked.shape), "paintings": tuple(asked.others.get("styles", asked.shape))}
    channels = {f"{part}.channels": asked.shape.channels for part in ("encoder", "head")}
    share = share_of(int(asked.given.get("pace.batch", 8)), asked.world)
    pace = {"pace.kimg": 0.1, "pace.batch": 8, "pace.batch_gpu": largest_divisor(share, 8)}
    return build(PairConfig, {**pace, "preset": asked.preset, **asked.given, **images, **channels}), ()


COURSE = Course(
    title="Pair",
    family=FAMILY,
    config=PairConfig,
    models={
        "pair-s/2": {"encoder.features": 2, "head.features": 2},
        "pair-b/4": {"encoder.features": 4, "head.features": 4},
    },
    settle=_settle,
    recipe=PairRecipe,
    smallest=lambda config: config.model_copy(
        update={"encoder": WidthConfig(features=1), "head": WidthConfig(features=1)}
    ),
    smaller="the smaller --model pair-s/2",
    signs=Signs(shown={"loss/encode": "loss"}, charts=(Chart("Loss by noise", ("loss/t *",), "falls"),)),
)
