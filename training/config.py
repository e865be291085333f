"""Everything that decides a training run, one frozen tree. Flags, their help and limits come from these fields."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.dataset import DataConfig
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from torch_utils.device import Precision
from torch_utils.distributed import PATIENCE
from training.augment.config import AugmentConfig

GRAPH_DEVICES = ("auto", "cuda")  # that --cuda-graphs is for


def _flag(name: str, group: str, by_preset: bool = False) -> dict[str, Any]:
    return {"flag": name, "group": group, "by_preset": by_preset}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossConfig(Section):
    """What the networks are asked for."""

    kind: Literal["logistic", "rpgan"] = Field(
        "logistic",
        description="logistic as in the papers, or R3GAN's: relativistic pairs, penalised on reals and fakes",
        json_schema_extra=_flag("--loss", "Training"),
    )
    gamma: float = Field(
        10.0,
        ge=0,
        description="weight of the R1 penalty, and with rpgan of R2; 0 goes without",
        json_schema_extra=_flag("--gamma", "Training", True),
    )
    path_weight: float = Field(2.0, ge=0, description="weight of the path-length penalty; 0 goes without")
    path_decay: float = Field(0.01, gt=0, le=1, description="step of the running mean of path lengths")
    path_shrink: int = Field(2, ge=1, description="path lengths are taken on a batch this many times smaller")
    mixing: float = Field(0.9, ge=0, le=1, description="probability of style mixing")
    noise: Literal["random", "const", "none"] = Field("random", description="noise inputs while training")


class OptimizerConfig(Section):
    """Adam for both networks, and how often each is regularised."""

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
        description="with --transfer: leave this many layers of D as they are, counted from the image",
        json_schema_extra=_flag("--freeze-d", "Training"),
    )


class AverageConfig(Section):
    """The averaged generator."""

    kimg: float = Field(10.0, ge=0, description="half-life of the averaged generator, in thousands of images")
    ramp: float = Field(0.0, ge=0, description="limit of the half-life as a share of the images seen; 0 sets none")
    w_beta: float = Field(0.995, ge=0, lt=1, description="share of the old average of w kept in one update")


class PaceConfig(Section):
    """How long, in which steps, and how often something is written. An image shown is the only clock."""

    kimg: float = Field(
        25000.0, gt=0, description="length in thousands of images", json_schema_extra=_flag("--kimg", "Training", True)
    )
    batch: int = Field(
        32,
        ge=1,
        description="images in an iteration, over all processes",
        json_schema_extra=_flag("--batch", "Training", True),
    )
    batch_gpu: int = Field(
        32,
        ge=1,
        description="images at once in one process; smaller takes less memory, and auto finds the most that fit",
        json_schema_extra=_flag("--batch-gpu", "Training", True) | {"word": "auto"},
    )
    tick: float = Field(
        4.0, gt=0, description="kimg between status lines", json_schema_extra=_flag("--tick", "Output", True)
    )
    snap: int = Field(
        50,
        ge=1,
        description="ticks between snapshots of samples, networks and state",
        json_schema_extra=_flag("--snap", "Output", True),
    )
    state_minutes: float = Field(10.0, ge=0, description="minutes between states saved between snapshots; 0 for none")

    @property
    def images(self) -> int:
        """Real images that training shows in all."""
        return round(self.kimg * 1000)


def suits_group(batch_gpu: int, group: int) -> bool:
    """Whether the images that are computed at once make whole groups of the minibatch standard deviation, or one."""
    return batch_gpu % min(group, batch_gpu) == 0


class TrainConfig(Section):
    """One training run."""

    preset: Literal["auto", "demo", "stylegan2", "paper256", "paper512", "paper1024", "cifar"] = Field(
        "auto",
        description="a named configuration; without it auto, or demo for the demo set",
        json_schema_extra=_flag("--preset", "Training"),
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="seed of everything random", json_schema_extra=_flag("--seed", "Training")
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where to compute", json_schema_extra=_flag("--device", "Machine")
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        "auto",
        description="number format of the convolutions; auto is bf16 or else fp16 on CUDA, fp32 elsewhere",
        json_schema_extra=_flag("--precision", "Machine"),
    )
    workers: int = Field(
        0, ge=0, le=256, description="processes that read images", json_schema_extra=_flag("--workers", "Machine", True)
    )
    patience: float = Field(
        PATIENCE, gt=0, description="minutes that processes wait for one another before they take one for lost"
    )
    checkpoint_activations: bool = Field(
        False,
        description="compute activations twice instead of keeping them: less memory, slower, the same result",
        json_schema_extra=_flag("--checkpoint-activations", "Machine"),
    )
    compile: bool = Field(
        False,
        description="compile the networks with torch.compile, where that works and gives the same",
        json_schema_extra=_flag("--compile", "Machine"),
    )
    cuda_graphs: bool = Field(
        False,
        description="capture Gmain and Dmain as CUDA graphs, where that works and gives the same; takes more memory",
        json_schema_extra=_flag("--cuda-graphs", "Machine"),
    )
    deterministic: bool = Field(
        False,
        description="only algorithms that give the same bits each time, on CUDA too, where that is slower",
        json_schema_extra=_flag("--deterministic", "Machine"),
    )
    metrics: str = Field(
        "swd1k",
        description="what every snapshot's network is judged by, with commas, such as fid50k_full,swd1k, or none; "
        "the first decides which is kept as best.safetensors (see docs/metrics.md)",
        json_schema_extra=_flag("--metrics", "Output", True),
    )
    data: DataConfig = DataConfig()
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    average: AverageConfig = AverageConfig()
    pace: PaceConfig = PaceConfig()
    augment: AugmentConfig = AugmentConfig()

    @property
    def arithmetic(self) -> Precision:
        """The number format, in a resolved configuration."""
        if self.precision == "auto":
            raise ValueError("the precision has not been resolved")
        return self.precision

    @model_validator(mode="after")
    def _parts_fit(self) -> "TrainConfig":
        G, D, pace = self.generator, self.discriminator, self.pace
        for name in ("height", "width", "channels", "classes"):
            if getattr(G, name) != getattr(D, name):
                raise ValueError(
                    f"generator.{name} is {getattr(G, name)}, but discriminator.{name} is {getattr(D, name)}"
                )
        if not pace.images:
            raise ValueError(f"--kimg {pace.kimg:g} is less than one image: give 0.001 or more")
        if pace.batch % pace.batch_gpu:
            raise ValueError(f"--batch {pace.batch} is not a multiple of --batch-gpu {pace.batch_gpu}")
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
        if self.compile and self.checkpoint_activations:
            raise ValueError(
                "--compile is for speed, --checkpoint-activations for memory, and they do not go together: give one"
            )
        if self.cuda_graphs and self.compile:
            raise ValueError("--cuda-graphs and --compile both replace the passes of Gmain and Dmain: give one")
        if self.cuda_graphs and self.device not in GRAPH_DEVICES:
            raise ValueError(f"--cuda-graphs needs a CUDA device, and the device is {self.device}: leave it out")
        return self
