"""The settings of runs that teach what noise hides: networks, loss, optimizer, averages, and pictures on the way."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from imaging.imageset import Latent
from models.adm.config import ClassifierConfig, UNetConfig
from models.diffusion.choices import CODEC, DenoisingOptions, Solvers
from models.diffusion.config import NoisyConfig
from models.diffusion.parts import AVERAGES
from models.dit.config import DiTConfig
from models.family import Shape
from torch_utils.config import flag
from training.config import MODEL, PRESET, AverageConfig, RunConfig, Section

DROP = "share of images that are shown without their class; classifier-free guidance needs some"
WARM = "thousands of images over which the learning rate rises from 0 to --lr"


class LevelsConfig(Section):
    """Which noise levels are learned."""

    times: Literal["logit-normal", "uniform"] = Field(
        "logit-normal", description="noise levels for objective flow: mostly in the middle (logit-normal), or all alike"
    )
    location: float = Field(0.0, description="mean of the logit of the noise level")
    spread: float = Field(1.0, gt=0, description="standard deviation of the logit of the noise level")


class NoiseLossConfig(LevelsConfig):
    """Which noise levels are learned, and how errors are weighed."""

    kind: Literal["mse", "hybrid", "rescaled", "bound"] = Field(
        "hybrid", description="mse: squared error; hybrid, rescaled: plus the bound, for learned variances"
    )
    label_dropout: float = flag(0.1, "--label-dropout", "Training", DROP, ge=0, le=1)


class AdamWConfig(Section):
    """AdamW, with a rate that rises first, and limited gradients."""

    lr: float = flag(1e-4, "--lr", "Training", "learning rate", by_preset=True, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the first moment")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the second moment")
    epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(0.0, ge=0, description="decay of matrices and kernels; biases do not decay")
    warm_up: float = flag(0.0, "--warm-up", "Training", WARM, by_preset=True, ge=0)
    clip: float = Field(1.0, gt=0, description="gradients with a larger norm are scaled down to it")


class AveragesConfig(AverageConfig):
    """The averaged networks; pictures are made with the first."""

    kimg: tuple[float, ...] = Field(  # type: ignore[assignment]
        (10.0,), description="half-lives in thousands of images, one to three, with commas"
    )

    @field_validator("kimg")
    @classmethod
    def _few(cls, kimg: tuple[float, ...]) -> tuple[float, ...]:
        if not 1 <= len(kimg) <= len(AVERAGES) or any(half < 0 for half in kimg):
            raise ValueError(f"expected 1 to {len(AVERAGES)} half-lives, 0 or more each")
        return kimg


class DiffusionConfig(RunConfig):
    """What runs of all models of this room have."""

    preset: Literal["auto", "small", "full", "demo", "paper"] = flag("auto", *PRESET)
    loss: LevelsConfig = LevelsConfig()
    optimizer: AdamWConfig = AdamWConfig()
    average: AveragesConfig = AveragesConfig()

    @property
    def network(self) -> NoisyConfig:
        """The configuration of the network."""
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        return Shape.of(self.network)

    @property
    def latent(self) -> Latent | None:
        return self.network.latent

    @model_validator(mode="after")
    def _computes_well(self) -> Self:
        if self.precision == "fp16":
            raise ValueError("--precision fp16: float16 rounds small gradients to 0: give bf16 or fp32")
        if getattr(self.network, "dropout", 0) and (self.compile or self.cuda_graphs):
            raise ValueError("--compile and --cuda-graphs do not work with dropout: leave out one of the two")
        return self


class SamplingConfig(Section):
    """How the pictures of sheets and metrics are made."""

    steps: int = Field(50, ge=1, le=1000, description="number of steps from noise to picture")
    solver: Solvers = Field("dpm2m", description="how a step is computed")
    cfg_scale: float = Field(1.0, ge=0, le=100, description="classifier-free guidance; 1 is none")

    codec: str = flag("", "--codec", "Output", f"{CODEC}; without it samples are latents in false colors")

    def options(self) -> DenoisingOptions:
        """The same for a sampler."""
        return DenoisingOptions(**self.model_dump())


class DenoisingConfig(DiffusionConfig):
    """What runs of denoising networks have."""

    loss: NoiseLossConfig = NoiseLossConfig()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        noise, loss, scale = self.network.noise, self.loss, self.sampling.cfg_scale
        null = bool(self.network.classes) and getattr(self.network, "null_class", True)
        if noise.objective == "flow" and (noise.learned_variance or loss.kind == "bound"):
            raise ValueError(
                "a flow has no variances: give --objective eps, or leave out learned_variance and kind=bound"
            )
        if self.network.classes and not null and loss.label_dropout:
            raise ValueError("null_class=false leaves no row for pictures without a class: give --label-dropout 0")
        if scale != 1 and not null:
            raise ValueError(
                f"sampling.cfg_scale={scale:g} needs a network that also learns without classes: leave it out"
            )
        return self


class DiTRun(DenoisingConfig):
    """One training run of a diffusion transformer."""

    model: str = flag("dit-s/2", *MODEL)
    denoiser: DiTConfig = DiTConfig()

    @property
    def network(self) -> DiTConfig:
        return self.denoiser


class UNetRun(DenoisingConfig):
    """One training run of a U-Net."""

    model: Literal["adm"] = flag("adm", *MODEL)
    denoiser: UNetConfig = UNetConfig()

    @property
    def network(self) -> UNetConfig:
        return self.denoiser


class ClassifierRun(DiffusionConfig):
    """One training run of a classifier of noisy pictures."""

    model: Literal["noise-classifier"] = flag("noise-classifier", *MODEL)
    metrics: str = flag("none", "--metrics", "Output", "none: a classifier makes no pictures")
    classifier: ClassifierConfig = ClassifierConfig()

    @property
    def network(self) -> ClassifierConfig:
        return self.classifier
