"""The smallest settings of every family, and what tells it from the others."""

from typing import Any, NamedTuple

from tests.families import pair
from tests.training.runs import TINY

COMMON = {"device": "cpu", "pace.batch": 4, "pace.tick": 0.02, "pace.snap": 3, "pace.kimg": 0.1}
ALIKE = {name: TINY[name] for name in ("data.path", "data.max_images", "preset", "precision")}


class Case(NamedTuple):
    """A family on trial."""

    model: str
    settings: dict[str, Any]  # its smallest, by dotted name
    option: str  # an option of its pictures that changes them; "" if it makes none of seeds
    own: str  # a setting of its training that no other family has
    curve: str  # a statistic that its report draws


QUICK = {"optimizer.lr": 0.01, "optimizer.warm_up": 0.0, "sampling.steps": 2}
DIT = QUICK | {"denoiser.hidden": 16, "denoiser.depth": 1, "denoiser.heads": 2}
SMALL = {"model_channels": 8, "mult": (1, 2), "res_blocks": 1, "groups": 4, "head_channels": 0}
UNET = QUICK | {f"denoiser.{name}": value for name, value in SMALL.items()}
CLASSIFIER = {f"classifier.{name}": value for name, value in SMALL.items()}
STYLE = {"style.widths": (4, 6), "style.depths": (1, 1)}
ADAIN = STYLE | {"styles.path": "demo:24", "styles.max_images": 12}

SMALLEST = {
    "stylegan2": Case("stylegan2", TINY, "--psi=0.5", "--gamma", "loss/G"),
    "dit": Case("dit-ti/4", ALIKE | DIT, "--steps=3", "--label-dropout", "loss/noise 0-20 %"),
    "adm": Case("adm", ALIKE | UNET, "--steps=3", "--label-dropout", "loss/noise 0-20 %"),
    "noise-classifier": Case("noise-classifier", ALIKE | CLASSIFIER, "", "--warm-up", "right/noise 0-20 %"),
    "adain": Case("adain", ALIKE | ADAIN, "", "--style-weight", "style/relu1_1"),
    "style-encoder": Case("style-encoder", ALIKE | STYLE, "", "--temperature", "contrast/relu1_1"),
    "toy": Case("toy", ALIKE, "--sweeps=9", "--noise", "loss/denoise"),
    "pair": Case("pair-b/4", ALIKE | pair.STYLES, "", "--warm-up", "loss/t 0-249"),
}
