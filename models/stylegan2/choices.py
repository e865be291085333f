"""What a user may choose about the pictures of a generator with styles."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from models.sampler import Options
from torch_utils.config import flag

NoiseMode = Literal["random", "const", "none"]
MOST_CENTERS = 1000  # ten samples of w for each

_GROUP = "Pictures"
_LATENTS = "instead of seeds: the w of a projected-w.npz of project.py, with the noise fitted to them"
_PSI = "truncation: 1 full variety, towards 0 the average image"
_CENTERS = "psi pulls w towards the nearest of this many centers of its class, not towards the average"
_CUTOFF = "number of first layers that are truncated; without it all"
_NOISE = "noise of the synthesis: the network's own (const), drawn from the seed (random), or none"
_NAMES = ("--projected-w", "--projected_w")  # in the official code


class StyleOptions(Options):
    """Truncation and noise."""

    latents: Path | None = flag(None, "--latents", _GROUP, _LATENTS, also=_NAMES, instead_of="seeds")
    psi: float = flag(1.0, "--psi", _GROUP, _PSI, also=["--trunc"], slider=(-1, 1.5), ge=-1000, le=1000)
    centers: int | None = flag(None, "--centers", _GROUP, _CENTERS, slider=(1, 64), ge=1, le=MOST_CENTERS)
    psi_cutoff: int | None = flag(None, "--psi-cutoff", _GROUP, _CUTOFF, slider=(0, 40), ge=0)
    noise_mode: NoiseMode = flag("const", "--noise-mode", _GROUP, _NOISE)

    @model_validator(mode="after")
    def _centers_pull(self) -> "StyleOptions":
        if self.centers is not None and self.psi == 1:
            raise ValueError(
                f"--centers {self.centers} has no effect with --psi 1: give a smaller --psi, such as 0.5, or leave "
                f"--centers out"
            )
        return self
