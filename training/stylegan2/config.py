"""The settings of a StyleGAN2 training run: networks, losses, optimizers, average and augmentations."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models.family import Shape
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from torch_utils.config import flag
from training.augment.chances import AugmentConfig
from training.config import MODEL, PRESET, AverageConfig, RunConfig, Section

KIND = "logistic: as in the papers; rpgan: R3GAN's relativistic pairs, with a penalty on reals and fakes"
GAMMA = "weight of the R1 penalty, with rpgan also of R2; 0 turns it off"
FREEZE = "with --transfer: keep this many layers of D unchanged, counted from the image"


class LossConfig(Section):
    """The losses of both networks."""

    kind: Literal["logistic", "rpgan"] = flag("logistic", "--loss", "Training", KIND)
    gamma: float = flag(10.0, "--gamma", "Training", GAMMA, by_preset=True, ge=0)
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
    freeze_d: int = flag(0, "--freeze-d", "Training", FREEZE, ge=0)


class StyleAverageConfig(AverageConfig):
    """The averaged generator, and the average of w."""

    w_beta: float = Field(0.995, ge=0, lt=1, description="share of the old average of w kept in one update")


class StyleGAN2Config(RunConfig):
    """One training run of a StyleGAN2."""

    model: Literal["stylegan2"] = flag("stylegan2", *MODEL)
    preset: Literal["auto", "demo", "stylegan2", "paper256", "paper512", "paper1024", "cifar"] = flag("auto", *PRESET)
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
        G, D, at_once, frozen = self.generator, self.discriminator, self.pace.batch_gpu, self.optimizer.freeze_d
        for name in Shape._fields:
            if getattr(G, name) != getattr(D, name):
                raise ValueError(
                    f"generator.{name} is {getattr(G, name)}, but discriminator.{name} is {getattr(D, name)}"
                )
        if at_once % min(D.mbstd_group, at_once):  # no whole groups, and more than one
            raise ValueError(
                f"--batch-gpu {at_once} is not a multiple of the minibatch-std group: choose another or "
                f"--set discriminator.mbstd_group={at_once}"
            )
        layers = D.doublings * 2 + 1 + {"residual": D.doublings, "skip": D.doublings - 1, "plain": 0}[D.architecture]
        if frozen > layers:
            raise ValueError(f"--freeze-d {frozen} is more than the {layers} layers of D before its last ones")
        return self
