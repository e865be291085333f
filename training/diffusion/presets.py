"""Named configurations of denoising networks, and how a preset, the data and the flags become the settings of a run."""

from collections.abc import Mapping
from typing import Any

from training.config import check_rounds, largest_divisor, share_of
from training.course import Asked
from training.diffusion.config import ClassifierRun, DiffusionConfig, DiTRun

ADM_ATTENTION = (32, 16, 8)  # sides of feature maps with attention (Dhariwal and Nichol 2021, section 3)


def resolve(kind: type[DiffusionConfig], part: str, asked: Asked) -> dict[str, Any]:
    """All settings of a run by dotted name; given ones take precedence over the preset.

    Args:
        kind: what is trained.
        part: the section of its network: "denoiser" or "classifier".
        asked: preset, images and given settings.

    Raises:
        ValueError: the batch cannot be dealt to the processes.
    """
    model = asked.given.get("model", "")
    row = {"auto": _auto, "demo": _demo, "paper": _paper}[asked.preset](kind, part, asked, model)
    if asked.latent and not asked.given.get("sampling.codec"):
        row["metrics"] = "none"
    values = {**row, **asked.given, "preset": asked.preset}
    share = share_of(values["pace.batch"], asked.world)
    at_once = asked.given.get("pace.batch_gpu") or largest_divisor(share, max(row["pace.batch"], 1))
    check_rounds(at_once, share, values["pace.batch"])
    return values | {"pace.batch_gpu": at_once}


def _auto(kind: type[DiffusionConfig], part: str, asked: Asked, model: str) -> dict[str, Any]:
    """What suits the pictures: flow, a rate that suits small networks, an average that grows with the run."""
    row = {
        "pace.kimg": 20000.0,
        "pace.batch": 128,
        "pace.snap": 50,
        "pace.tick": 20.0,
        "optimizer.lr": 3e-4,
        "optimizer.warm_up": 100.0,
        "average.kimg": (500.0,),
        "average.ramp": 0.1,
        **_network(kind, part, asked),
    }
    if kind is ClassifierRun:
        row |= {"pace.kimg": 5000.0, "optimizer.weight_decay": 0.05, "average.kimg": (100.0,)}
    return row


def _demo(kind: type[DiffusionConfig], part: str, asked: Asked, model: str) -> dict[str, Any]:
    """For the embedded cartoon faces: faces after some minutes on a CPU."""
    row = {
        **_auto(kind, part, asked, model),
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
    if part == "denoiser":
        row |= {"sampling.steps": 20}
    if kind is ClassifierRun:
        row |= {"pace.kimg": 30.0}
    return row


def _paper(kind: type[DiffusionConfig], part: str, asked: Asked, model: str) -> dict[str, Any]:
    """The settings of the papers (Peebles and Xie 2023, section 4; Dhariwal and Nichol 2021, appendix)."""
    row: dict[str, Any] = {
        "pace.batch": 256,
        "pace.kimg": 102400.0,  # 400,000 iterations
        "pace.tick": 100.0,
        "optimizer.lr": 1e-4,
        "optimizer.clip": 1e9,
        "average.kimg": (1774.0,),  # 0.9999 in an iteration
        f"{part}.noise.objective": "eps",
        f"{part}.noise.schedule": "linear",
        **_network(kind, part, asked),
    }
    if kind is ClassifierRun:
        return row | {"optimizer.lr": 3e-4, "optimizer.weight_decay": 0.05, "pace.kimg": 76800.0}
    return row | {f"{part}.noise.learned_variance": True, "sampling.steps": 250, "sampling.solver": "ddpm"}


def _network(kind: type[DiffusionConfig], part: str, asked: Asked) -> Mapping[str, Any]:
    """A U-Net for the size of the pictures; a transformer is named by --model."""
    if kind is DiTRun:
        return {}
    side = max(asked.shape.height, asked.shape.width)
    halvings = max((n for n in range(1, 6) if not any(s % 2**n for s in asked.shape[:2]) and side >> n >= 4), default=0)
    wide = asked.preset != "demo"
    widths = (1, 2, 3, 4, 4, 4) if side >= 64 else (1, 2, 2, 2, 2, 2)
    return {
        f"{part}.model_channels": 128 if wide else 32,
        f"{part}.mult": widths[: min(halvings, 4 if side > 64 else 3 if side > 32 else 2) + 1],
        f"{part}.res_blocks": 2 if wide else 1,
        f"{part}.attention": tuple(2**n for n in range(halvings + 1) if side >> n <= (16 if side <= 64 else 32)),
        f"{part}.head_channels": 64 if wide else 32,
        f"{part}.groups": 32 if wide else 8,
    }
