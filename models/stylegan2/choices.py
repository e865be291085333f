"""What a user may choose about the pictures of a generator with styles."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from models.sampler import Options
from torch_utils.config import flag
from torch_utils.flags import MAX_SEED

NoiseMode = Literal["random", "const", "none"]
MOST_CENTERS = 1000  # ten samples of w for each

_GROUP = "Pictures"
_LATENTS = "instead of seeds: the w of a projected-w.npz of project.py, with the noise fitted to them"
_PSI = "truncation: 1 full variety, towards 0 the average image"
_CENTERS = "psi pulls w towards the nearest of this many centers of its class, not towards the average"
_CUTOFF = "number of first layers that are truncated; without it all"
_FROM = "first layer that is truncated, counted from 0"
_NOISE = "noise of the synthesis: the network's own (const), drawn from the seed (random), or none"
_STRENGTH = "factor of the noise"
_NOISE_SEED = "seed of random noise, the same for all pictures; without it each picture's own"
_STYLES_OF = (
    "styles of other pictures, SEED@LAYERS or SEED/CLASS@LAYERS@WEIGHT; a mixture such as 7:1,9:0.5 or a "
    "projected-w.npz may take the place of the seed"
)
_DIRECTIONS = "directions.safetensors of directions.py, whose directions --move names"
_MOVE = "steps along directions, NAME:STRENGTH or NAME:STRENGTH@LAYERS, such as smile:2;age:-1@0-6"
_NAMES = ("--projected-w", "--projected_w")  # in the official code
TRUNCATION_AND_NOISE = ("psi", "psi_cutoff", "psi_from", "noise_mode", "noise_strength", "noise_seed")


class StyleOptions(Options):
    """Truncation, noise, styles of other pictures, and steps along directions."""

    latents: Path | None = flag(None, "--latents", _GROUP, _LATENTS, also=_NAMES, instead_of="seeds")
    psi: float = flag(1.0, "--psi", _GROUP, _PSI, also=["--trunc"], slider=(-1, 1.5), ge=-1000, le=1000)
    centers: int | None = flag(None, "--centers", _GROUP, _CENTERS, slider=(1, 64), ge=1, le=MOST_CENTERS)
    psi_cutoff: int | None = flag(None, "--psi-cutoff", _GROUP, _CUTOFF, slider=(0, 40), ge=0)
    psi_from: int = flag(0, "--psi-from", _GROUP, _FROM, slider=(0, 40), ge=0)
    noise_mode: NoiseMode = flag("const", "--noise-mode", _GROUP, _NOISE)
    noise_strength: float = flag(1.0, "--noise-strength", _GROUP, _STRENGTH, slider=(0, 3), ge=0, le=1000)
    noise_seed: int | None = flag(None, "--noise-seed", _GROUP, _NOISE_SEED, slider=(0, 100), ge=0, le=MAX_SEED)
    styles_of: str = flag(
        "", "--styles-of", _GROUP, _STYLES_OF, editor="styles", sheet=["style_mixing.py", *TRUNCATION_AND_NOISE]
    )

    directions: Path | None = flag(None, "--directions", _GROUP, _DIRECTIONS, serves="move")
    move: str = flag("", "--move", _GROUP, _MOVE, editor="moves")

    @model_validator(mode="after")
    def _directions_are_named(self) -> "StyleOptions":
        if self.move and self.directions is None:
            raise ValueError("--move needs --directions, the directions.safetensors that holds them: give both")
        return self

    @model_validator(mode="after")
    def _centers_pull(self) -> "StyleOptions":
        if self.centers is not None and self.psi == 1:
            raise ValueError(
                f"--centers {self.centers} has no effect with --psi 1: give a smaller --psi, such as 0.5, or leave "
                f"--centers out"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_made(self) -> "StyleOptions":
        if self.noise_seed is not None and self.noise_mode != "random":
            raise ValueError(f"--noise-seed {self.noise_seed} applies to --noise-mode random alone: leave it out")
        if self.noise_strength != 1 and self.noise_mode == "none":
            raise ValueError(
                f"--noise-strength {self.noise_strength:g} has no effect with --noise-mode none: leave it out"
            )
        return self
