"""Named configurations of denoising networks, and how a preset, the data and the flags become the settings of a run.

Sources of "paper": DiT: Peebles and Xie 2023, section 4. U-Net and classifier: Dhariwal and Nichol 2021, tables of
hyperparameters in the appendix, and the flags of the released code; their classifiers' rate fell to 0, here it stays.
"""

import math
from collections.abc import Mapping
from typing import Any

from models.adm.config import published_classifier, published_unet
from models.diffusion.config import NoisyConfig
from models.dit.config import DiTConfig
from training.config import largest_divisor
from training.course import Asked
from training.diffusion.config import ClassifierRun, DiffusionConfig, DiTRun

MEMORY = 8 * 2**30  # bytes of activations that `auto` allows at once; in bf16 they are about half
# Bytes of activations in fp32, as `training.batch_gpu` estimates them: of a token's feature in a block of a DiT, and of
# a pixel's feature map in a U-Net of four feature maps.
TOKEN_BYTES, PIXEL_BYTES = 70, 400
MANY_TOKENS = 4096
EMA = math.log(0.5) / math.log(0.9999) / 1000  # kimg for each image of a batch, if 0.9999 is kept in an iteration

# Batch, thousands of iterations, learning rate, by side of the pictures; for other sides those of 256 pixels.
UNETS = {64: (2048, 540, 3e-4), 128: (256, 4360, 1e-4), 256: (256, 1980, 1e-4), 512: (256, 1940, 1e-4)}
CLASSIFIERS = {64: (1024, 300, 6e-4), 128: (256, 300, 3e-4), 256: (256, 500, 3e-4), 512: (256, 500, 3e-4)}


def resolve(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """All settings of a run by dotted name, but for `pace.batch_gpu`; given ones take precedence over the preset.

    Args:
        kind: what is trained.
        part: the section of its network: "denoiser" or "classifier".
        asked: preset, images and given settings.
    """
    rows = {"auto": _auto, "full": _auto, "small": _small, "demo": _demo, "paper": _paper}
    row = rows[asked.row](kind, part, asked)
    if asked.latent and not asked.given.get("sampling.codec"):
        row["metrics"] = "none"
    values = {**row, **asked.given, "preset": asked.row}
    if "average.kimg" in asked.given:  # meant as given: a ramp would make several averages the same at first
        values |= {"average.ramp": asked.given.get("average.ramp", 0.0)}
    return values | ({"precision": "fp32"} if values.get("precision") == "fp16" else {})


def notes(config: DiffusionConfig, asked: Asked) -> tuple[str, ...]:
    """What a user should know of the settings."""
    found, network = [*asked.row_notes], config.network
    if asked.given.get("precision") == "fp16":
        found.append("--precision fp16: float16 would round small gradients to 0, so this run computes in fp32")
    if not network.classes:
        found.append("the images have no classes, so the network learns none and --cfg-scale will not apply to it")
        if "cross-attention" in (getattr(network, "block", ""), getattr(network, "conditioning", "")):
            found.append("without classes cross-attention sees the noise level alone, which is the same everywhere")
    if isinstance(network, DiTConfig) and (count := network.grid[0] * network.grid[1]) > MANY_TOKENS:
        found.append(
            f"{count} tokens in a picture are slow: a --model with larger patches, such as dit-s/16, has fewer"
        )
    if asked.preset == "paper" and not isinstance(network, DiTConfig) and not _published(type(config), asked):
        sizes = ", ".join(map(str, UNETS))
        found.append(f"--preset paper: the paper has networks for sides of {sizes}; this one is that of --preset auto")
    return tuple(found)


def at_once(network: NoisyConfig, share: int) -> int:
    """Images of a process's share of a batch that are computed together, so that activations fit `MEMORY`."""
    if isinstance(network, DiTConfig):
        cost = TOKEN_BYTES * math.prod(network.grid) * network.hidden * network.depth
    else:
        cost = PIXEL_BYTES * network.height * network.width * getattr(network, "model_channels", 1)
    return largest_divisor(share, max(MEMORY // cost, 1))


def _auto(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """What suits the pictures: flow, a rate that suits the network, an average that grows with the run."""
    wide = asked.given.get("denoiser.hidden", 0) >= 768  # dit-b and larger
    row = {
        "pace.kimg": 20000.0,
        "pace.batch": 128,
        "pace.snap": 50,
        "pace.tick": 20.0,
        "optimizer.lr": 1e-4 if wide else 3e-4,
        "optimizer.warm_up": 100.0,
        "average.kimg": (500.0,),
        "average.ramp": 0.1,
        **_network(kind, part, asked),
    }
    if kind is ClassifierRun:
        # Guidance asks at all levels alike, so they are learned alike.
        row |= {"pace.kimg": 5000.0, "optimizer.weight_decay": 0.05, "average.kimg": (100.0,), "loss.times": "uniform"}
    return row


def _demo(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """For the embedded cartoon faces: faces after some minutes on a CPU."""
    row = {
        **_auto(kind, part, asked),
        "pace.kimg": 100.0,
        "pace.batch": 32,
        "pace.tick": 2.0,
        "pace.snap": 10,
        "pace.sheet": 60,
        "optimizer.lr": 1e-3,
        "optimizer.warm_up": 2.0,
        "average.kimg": (4.0,),
        "metrics": "none",
    }
    return row | ({"pace.kimg": 30.0} if kind is ClassifierRun else {"sampling.steps": 20})


def _small(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """For other pictures where there is no GPU: longer than `demo`."""
    row = _demo(kind, part, asked)
    return row | {"pace.kimg": 2 * row["pace.kimg"]}


def _paper(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """The settings of the papers."""
    published = _published(kind, asked)
    batch, iterations, lr = 256, 400, 1e-4  # DiT's ablations
    if kind is not DiTRun:
        table = CLASSIFIERS if kind is ClassifierRun else UNETS
        batch, iterations, lr = table.get(asked.shape.height if published else 256, table[256])
    row: dict[str, Any] = {
        "pace.batch": batch,
        "pace.kimg": float(batch * iterations),
        "pace.tick": 100.0,
        "optimizer.lr": lr,
        "optimizer.clip": 1e9,  # gradients are not clipped
        "average.kimg": (round(EMA * batch, 1),),
        f"{part}.noise.objective": "eps",
        f"{part}.noise.schedule": "linear",
        **(_network(kind, part, asked) if not published else {f"{part}.{k}": v for k, v in published.items()}),
    }
    if kind is ClassifierRun:
        return row | {"optimizer.weight_decay": 0.2 if batch == 1024 else 0.05}
    learned = asked.given.get(f"{part}.noise.objective") != "flow"
    row |= {f"{part}.noise.learned_variance": learned, "sampling.steps": 250, "sampling.solver": "ddpm"}
    return row | ({"loss.label_dropout": 0.0} if published else {})


def _published(kind: type[DiffusionConfig], asked: Asked) -> dict[str, Any]:
    """The settings of the paper's U-Net or classifier by name within its section; nothing for other pictures."""
    shape = asked.shape
    if kind is DiTRun or asked.latent or shape.height != shape.width or shape.height not in UNETS:
        return {}
    side, classes = shape.height, shape.classes
    found = published_classifier(side) if kind is ClassifierRun else published_unet(side, classes)
    noise = {f"noise.{name}": value for name, value in found.pop("noise").items()}
    dropout = {"dropout": 0.1} if side == 64 and kind is not ClassifierRun else {}
    return {name: value for name, value in (found | noise | dropout).items() if name not in shape._fields}


def _network(kind: type[DiffusionConfig], part: str, asked: Asked) -> Mapping[str, Any]:
    """A U-Net for the size of the pictures; a transformer is named by --model."""
    if kind is DiTRun:
        return {}
    side = max(asked.shape.height, asked.shape.width)
    halvings = max((n for n in range(1, 6) if not any(s % 2**n for s in asked.shape[:2]) and side >> n >= 4), default=0)
    wide = asked.row not in ("demo", "small")
    factors = (1, 2, 3, 4, 4, 4) if side >= 64 else (1, 2, 2, 2, 2, 2)
    width = asked.given.get(f"{part}.model_channels", 128 if wide else 32)
    mult = asked.given.get(f"{part}.mult", factors[: min(halvings, 4 if side > 64 else 3 if side > 32 else 2) + 1])
    widths = [int(width * factor) for factor in mult]
    common = math.gcd(*widths)
    own_heads = f"{part}.heads" in asked.given
    return {
        f"{part}.model_channels": width,
        f"{part}.mult": tuple(mult),
        f"{part}.res_blocks": 2 if wide else 1,
        f"{part}.attention": tuple(2**n for n in range(halvings + 1) if side >> n <= (16 if side <= 64 else 32)),
        f"{part}.head_channels": 0 if own_heads else largest_divisor(common, 64),
        # At least 4 feature maps in a group: alone in its group, a feature map would lose what is added to it.
        f"{part}.groups": largest_divisor(common, min(max(min(widths) // 4, 1), 32)),
    }
