"""What a user may choose about the pictures of denoising networks."""

import re
from typing import Literal, Self

from pydantic import field_validator, model_validator

from models.diffusion.process import STEPS
from models.sampler import Options
from torch_utils.config import flag

Solvers = Literal["ddpm", "ddim", "euler", "heun", "dpm2m"]
RANDOM = ("ddpm",)  # solvers that draw noise on the way; ddim does with eta

_STEPS = "number of steps from noise to picture: more steps take longer and follow the network more exactly"
_SOLVER = "how steps are computed: dpm2m needs the fewest, heun calls the network twice a step, ddpm adds new noise"
_ETA = "with --solver ddim: new noise in each step, from 0 (none) to 1 (as much as ddpm)"
_SCALE = "classifier-free guidance: 1 is none; larger values show the class more clearly, with less variety"
_INTERVAL = "noise levels at which --cfg-scale applies, from 0 (no noise) to 1 (only noise), such as 0.2:0.8"
_CHANNELS = "channels to which --cfg-scale applies; without it all; 3 (of 4) reproduces DiT's published samples"
_GUIDE = "autoguidance: a weaker network for the same pictures; --cfg-scale leads away from what it predicts"
CODEC = "folder of the AutoencoderKL that decodes latents to pictures"
_CLASSIFIER = "classifier guidance: a network of train.py --model noise-classifier, trained on the same pictures"


class DenoisingOptions(Options):
    """Solver and guidance."""

    steps: int = flag(50, "--steps", "Pictures", _STEPS, slider=(1, 100), draft=8, ge=1, le=STEPS)
    solver: Solvers = flag("dpm2m", "--solver", "Pictures", _SOLVER)
    eta: float = flag(0.0, "--eta", "Pictures", _ETA, slider=(0, 1), ge=0, le=1)
    cfg_scale: float = flag(1.0, "--cfg-scale", "Pictures", _SCALE, slider=(1, 8), ge=0, le=100)
    cfg_interval: str = flag("0:1", "--cfg-interval", "Pictures", _INTERVAL, slider=(0, 1))
    cfg_channels: int | None = flag(None, "--cfg-channels", "Pictures", _CHANNELS, slider=(1, 4), ge=1)
    guide: str = flag("", "--guide", "Pictures", _GUIDE, opens=True)
    classifier: str = flag("", "--classifier", "Pictures", _CLASSIFIER, opens=True)
    codec: str = flag("", "--codec", "Pictures", CODEC)
    classifier_scale: float = flag(
        1.0, "--classifier-scale", "Pictures", "strength of --classifier", slider=(0, 10), ge=0, le=1000
    )

    @field_validator("cfg_interval")
    @classmethod
    def _two_shares(cls, text: str) -> str:
        found = re.fullmatch(r"\s*([0-9.]+)\s*:\s*([0-9.]+)\s*", text)
        try:
            low, high = (float(part) for part in found.groups()) if found else (1.0, 0.0)
        except ValueError:
            low, high = 1.0, 0.0
        if not 0 <= low < high <= 1:
            raise ValueError(f"got {text!r}, expected two shares from 0 to 1, the smaller one first, as in 0.2:0.8")
        return f"{low:g}:{high:g}"

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        if self.eta and self.solver != "ddim":
            raise ValueError(f"--eta applies to --solver ddim, not to {self.solver}: leave it out")
        asked = {
            "--guide": self.guide,
            "--cfg-interval": self.cfg_interval != "0:1",
            "--cfg-channels": self.cfg_channels,
        }
        for name, given in asked.items():
            if given and self.cfg_scale == 1:
                raise ValueError(f"{name} has no effect with --cfg-scale 1: give a larger --cfg-scale, such as 2")
        if self.classifier_scale != 1 and not self.classifier:
            raise ValueError("--classifier-scale does not apply without --classifier: leave it out")
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """The guided noise levels, as shares."""
        low, high = self.cfg_interval.split(":")
        return float(low), float(high)

    def check_still(self) -> None:
        """Raise ValueError unless the first noise alone decides a picture."""
        if self.solver in RANDOM:
            raise ValueError(f"--solver {self.solver} draws noise in every step: films need ddim, euler, heun or dpm2m")
        if self.eta:
            raise ValueError(f"--eta {self.eta:g} draws noise in every step, which films do without: leave it out")
