"""Every named configuration as one row, and how a row, the data and the flags become a configuration."""

from collections.abc import Mapping
from typing import Any

from models.stylegan2.config import FP16_CLAMP
from torch_utils.config import build
from training.config import largest_divisor, share_of
from training.stylegan2.config import StyleGAN2Config

# D may learn so many images by heart. In the ADA paper (section 4, figure 7) it does so with the 50 000 of CIFAR-10,
# and with 30 000 of FFHQ or LSUN cat; with 100 000 cats augmentation cost a little quality.
FEW_IMAGES = 50_000

# A row holds settings by dotted name, and some names that set several settings:
#   processes  that the batch was meant for: batch / processes images at once
#   group      largest group of the minibatch standard deviation
#   base, most feature maps x resolution, and most feature maps, of both networks
#   width      of z and w
#   lr         of both networks
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

    `auto` is the row that suits a resolution, a number of processes and of images (StyleGAN2-ADA, appendix D).
    `demo` shows faces after minutes on a CPU. Its cartoon faces are flat and few, so D finds out fakes quickly: a
    strong R1 penalty holds it back. They have no grain, so noise inputs are off. Relativistic pairs, large steps and
    a short average show more different faces sooner (docs/training.md).
    """
    side = max(height, width)
    if preset == "demo":
        row = _row(1, 20, 8, 4, 32 * side, 128, 128, 2, 0.005, 10.0, 1.0, 0.05, discriminator__mapping_layers=2)
        loss = {"loss.kind": "rpgan", "loss.noise": "none"}
        return {**row, **loss, "pace.tick": 1.0, "pace.snap": 5, "metrics": "none"}
    if preset != "auto":
        return ROWS[preset]
    batch = batch or max(min(world * min(4096 // side, 32), 64) // world, 1) * world
    base, lr = 32768 if side >= 512 else 16384, 0.002 if side >= 1024 else 0.0025
    aug = "none" if images is None or images > FEW_IMAGES else "ada"
    group, gamma, ema = min(batch // world, 4), gamma_rule(height, width, batch), batch * 10 / 32
    return _row(world, 25000, batch, group, base, 512, 512, 2, lr, gamma, ema, 0.05, augment__mode=aug)


def gamma_rule(height: int, width: int, batch: int) -> float:
    """The weight of R1 that suits a resolution and a batch, as a first guess (StyleGAN2-ADA, appendix D)."""
    return 0.0002 * height * width / batch


def preset_gamma(preset: str, height: int, width: int, batch: int) -> float:
    """The weight of R1 of a preset; that of the rule for an unknown name."""
    row = row_of(preset, height, width, batch=batch) if preset in (*ROWS, "demo") else {}
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
