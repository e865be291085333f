"""The settings of a StyleGAN2 training run, and how a preset, the data and the flags become a configuration."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from models.family import Shape
from models.stylegan2.config import FP16_CLAMP, DiscriminatorConfig, GeneratorConfig
from torch_utils.config import build, flag
from training.augment.config import AugmentConfig
from training.config import MODEL, PRESET, AverageConfig, RunConfig, Section, largest_divisor, share_of

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
    preset: Literal["auto", "small", "full", "demo", "stylegan2", "paper256", "paper512", "paper1024", "cifar"] = flag(
        "auto", *PRESET
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
        G, D, at_once, frozen = self.generator, self.discriminator, self.pace.batch_gpu, self.optimizer.freeze_d
        if Shape.of(G) != Shape.of(D):
            raise ValueError(f"the images of G and D differ: {Shape.of(G)} and {Shape.of(D)}")
        if at_once % min(D.mbstd_group, at_once):  # no whole groups, and more than one
            mend = f"choose another or --set discriminator.mbstd_group={at_once}"
            raise ValueError(f"--batch-gpu {at_once} is not a multiple of the minibatch-std group: {mend}")
        layers = D.doublings * 2 + 1 + {"residual": D.doublings, "skip": D.doublings - 1, "plain": 0}[D.architecture]
        if frozen > layers:
            raise ValueError(f"--freeze-d {frozen} is more than the {layers} layers of D before its last ones")
        return self


# D may learn so many images by heart. In the ADA paper (section 4, figure 7) it does so with the 50 000 of CIFAR-10,
# and with 30 000 of FFHQ or LSUN cat; with 100 000 cats augmentation cost a little quality.
FEW_IMAGES = 50_000

SMALL_GAMMA = 0.001  # weight of R1 and R2 per pixel of a picture

# A row holds settings by dotted name, and some that set several: `processes` that the batch was meant for (so that each
# computes batch / processes images at once), `group`, the largest of the minibatch standard deviation, `base`, most
# feature maps x resolution, and `most` feature maps of both networks, `width` of z and w, and `lr` of both networks.
Row = Mapping[str, Any]
COLUMNS = ("processes", "pace.kimg", "pace.batch", "group", "base", "most", "width", "generator.mapping_layers", "lr",
           "loss.gamma", "average.kimg", "average.ramp")  # fmt: skip


def _row(*columns: float, **more: Any) -> Row:
    return dict(zip(COLUMNS, columns, strict=True)) | {name.replace("__", "."): value for name, value in more.items()}


# StyleGAN2-ADA, table of configurations.
# fmt: off
ROWS: dict[str, Row] = {
    #           processes  kimg batch group  base  most width layers  lr  gamma  ema  ramp
    "stylegan2": _row(8,  25000,  32,  4,  32768,  512,  512,  8,  .002,   10.0,  10,  0.0),
    "paper256":  _row(8,  25000,  64,  8,  16384,  512,  512,  8, .0025,    1.0,  20,  0.0),
    "paper512":  _row(8,  25000,  64,  8,  32768,  512,  512,  8, .0025,    0.5,  20,  0.0),
    "paper1024": _row(8,  25000,  32,  4,  32768,  512,  512,  8,  .002,    2.0,  10,  0.0),
    "cifar":     _row(2, 100000,  64, 32,  32768,  512,  512,  2, .0025,   0.01, 500, 0.05,
                      augment__mode="ada",  # 2000 times 50 000 images: the paper's numbers are those with ADA
                      loss__path_weight=0.0, loss__mixing=0.0, discriminator__architecture="plain"),
}
# fmt: on


def row_of(preset: str, height: int, width: int, world: int = 1, batch: int = 0, images: int | None = None) -> Row:
    """The row of a preset for images of a size; `images` None is more than enough, and a `batch` of 0 is chosen.

    `auto`, `full` by another name, suits a resolution, a number of processes and of images (StyleGAN2-ADA, appendix D).
    `small` and `demo` show something after minutes on a CPU. The flat faces of `demo`, soon known to D, need a strong
    R1 penalty and no noise inputs (docs/training.md).
    """
    side = max(height, width)
    aug = "none" if images is None or images > FEW_IMAGES else "ada"
    if preset == "demo":
        row = _row(1, 20, 8, 4, 32 * side, 128, 128, 2, 0.005, 10.0, 1.0, 0.05, discriminator__mapping_layers=2)
        loss = {"loss.kind": "rpgan", "loss.noise": "none"}
        return {**row, **loss, "pace.tick": 1.0, "pace.snap": 5, "metrics": "none"}
    if preset == "small":
        batch, base, gamma = batch or 8 * world, max(min(32 * side, 2048), 8 * side), SMALL_GAMMA * height * width
        row = _row(world, 200, batch, 4, base, 128, 128, 2, 0.005, gamma, 1.0, 0.05, discriminator__mapping_layers=2)
        return {**row, "augment.mode": aug, "loss.kind": "rpgan", "pace.tick": 2.0, "pace.snap": 10}
    if preset not in ("auto", "full"):
        return ROWS[preset]
    batch = batch or max(min(world * min(4096 // side, 32), 64) // world, 1) * world
    base, lr = 32768 if side >= 512 else 16384, 0.002 if side >= 1024 else 0.0025
    group, gamma, ema = min(batch // world, 4), gamma_rule(height, width, batch), batch * 10 / 32
    return _row(world, 25000, batch, group, base, 512, 512, 2, lr, gamma, ema, 0.05, augment__mode=aug)


def gamma_rule(height: int, width: int, batch: int) -> float:
    """The weight of R1 that suits a resolution and a batch, as a first guess (StyleGAN2-ADA, appendix D)."""
    return 0.0002 * height * width / batch


def preset_gamma(preset: str, height: int, width: int, batch: int) -> float:
    """The weight of R1 of a preset; that of the rule for an unknown name."""
    row = row_of(preset, height, width, batch=batch) if preset in (*ROWS, "demo", "small") else {}
    return row.get("loss.gamma") or gamma_rule(height, width, batch)


def resolve(
    preset: str, data: Mapping[str, Any], given: Mapping[str, Any], world: int, images: int | None = None
) -> StyleGAN2Config:
    """The configuration of a run from a preset, `auto` or `demo`, where settings by dotted name that are `given` win.

    `data` has `height`, `width`, `channels` and `classes`; `images` None is more than enough. Raises ValueError.
    """
    row = dict(row_of(preset, data["height"], data["width"], world, given.get("pace.batch", 0), images))
    processes, group, width, lr = (row.pop(name) for name in ("processes", "group", "width", "lr"))
    both = {**data, "channel_base": row.pop("base"), "channel_max": row.pop("most")}
    both |= {"clamp": FP16_CLAMP} if given.get("precision") == "fp16" else {}
    batch = given.get("pace.batch", row["pace.batch"])
    share = share_of(batch, world)
    at_once = share if "pace.batch" in given else largest_divisor(share, max(row["pace.batch"] // processes, 1))
    at_once = given.get("pace.batch_gpu") or at_once
    values = {
        **{f"{network}.{name}": value for network in ("generator", "discriminator") for name, value in both.items()},
        "preset": preset,
        "pace.batch_gpu": at_once,
        "discriminator.mbstd_group": largest_divisor(at_once, group),
        **dict.fromkeys(("generator.z_dim", "generator.w_dim"), width),
        **dict.fromkeys(("optimizer.g_lr", "optimizer.d_lr"), lr),
        **row,
    }
    return build(StyleGAN2Config, values | dict(given))
