"""The settings of a StyleGAN2 training run: networks, losses, optimizers, average and augmentations."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models.family import Shape
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from training.augment.config import AugmentConfig
from training.config import AverageConfig, RunConfig, Section, flag


class LossConfig(Section):
    """The losses of both networks."""

    kind: Literal["logistic", "rpgan"] = Field(
        "logistic",
        description="logistic: as in the papers; rpgan: R3GAN's relativistic pairs, with a penalty on reals and fakes",
        json_schema_extra=flag("--loss", "Training"),
    )
    gamma: float = Field(
        10.0,
        ge=0,
        description="weight of the R1 penalty, with rpgan also of R2; 0 turns it off",
        json_schema_extra=flag("--gamma", "Training", True),
    )
    path_weight: float = Field(2.0, ge=0, description="weight of the path-length penalty; 0 turns it off")
    path_decay: float = Field(0.01, gt=0, le=1, description="step of the running mean of path lengths")
    path_shrink: int = Field(2, ge=1, description="path lengths are measured on a batch this many times smaller")
    mixing: float = Field(0.9, ge=0, le=1, description="probability of style mixing")
    noise: Literal["random", "const", "none"] = Field("random", description="noise inputs in training")


class OptimizerConfig(Section):
    """Adam for both networks, and how often each is regularized."""

    g_lr: float = Field(0.002, gt=0, description="learning rate of G")
    d_lr: float = Field(0.002, gt=0, description="learning rate of D")
    beta1: float = Field(0.0, ge=0, lt=1, description="decay of Adam's first moment")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of Adam's second moment")
    epsilon: float = Field(1e-8, gt=0, description="Adam's epsilon")
    g_interval: int = Field(4, ge=1, description="iterations between path-length steps")
    d_interval: int = Field(16, ge=1, description="iterations between R1 steps")
    freeze_d: int = Field(
        0,
        ge=0,
        description="with --transfer: keep this many layers of D unchanged, counted from the image",
        json_schema_extra=flag("--freeze-d", "Training"),
    )


class StyleAverageConfig(AverageConfig):
    """The averaged generator, and the average of w."""

    w_beta: float = Field(0.995, ge=0, lt=1, description="share of the old average of w kept in one update")


def suits_group(batch_gpu: int, group: int) -> bool:
    """Whether the images computed at once fill whole groups of the minibatch standard deviation, or less than one."""
    return batch_gpu % min(group, batch_gpu) == 0


class StyleGAN2Config(RunConfig):
    """One training run of a StyleGAN2."""

    model: Literal["stylegan2"] = Field(
        "stylegan2", description="what is trained", json_schema_extra=flag("--model", "Training")
    )
    preset: Literal["auto", "demo", "stylegan2", "paper256", "paper512", "paper1024", "cifar"] = Field(
        "auto",
        description="a named configuration; without it auto, or demo for the demo set",
        json_schema_extra=flag("--preset", "Training"),
    )
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    average: StyleAverageConfig = StyleAverageConfig()
    augment: AugmentConfig = AugmentConfig()

    @property
    def shape(self) -> Shape:
        return Shape.of(self.generator)

    @property
    def title(self) -> str:
        return self.preset

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        G, D, pace = self.generator, self.discriminator, self.pace
        for name in ("height", "width", "channels", "classes"):
            if getattr(G, name) != getattr(D, name):
                raise ValueError(
                    f"generator.{name} is {getattr(G, name)}, but discriminator.{name} is {getattr(D, name)}"
                )
        if not suits_group(pace.batch_gpu, D.mbstd_group):
            raise ValueError(
                f"--batch-gpu {pace.batch_gpu} is not a multiple of the minibatch-std group: "
                f"choose another or --set discriminator.mbstd_group={pace.batch_gpu}"
            )
        layers = D.doublings * 2 + 1 + {"residual": D.doublings, "skip": D.doublings - 1, "plain": 0}[D.architecture]
        if self.optimizer.freeze_d > layers:
            raise ValueError(
                f"--freeze-d {self.optimizer.freeze_d} is more than the {layers} layers of D before its last ones"
            )
        return self
