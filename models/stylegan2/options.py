"""What a user may choose about the pictures of a generator with styles."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from models.sampler import Options
from models.stylegan2.centers import MOST
from models.stylegan2.generator import NoiseMode


def _flag(*names: str, **mark: Any) -> dict[str, Any]:
    return {"flag": names[0], "also": list(names[1:]), "group": "Pictures", **mark}


class StyleOptions(Options):
    """Truncation and noise."""

    latents: Path | None = Field(
        None,
        description="instead of seeds: the w of a projected-w.npz of project.py, with the noise fitted to them",
        json_schema_extra=_flag("--latents", "--projected-w", "--projected_w", instead_of="seeds"),
    )
    psi: float = Field(
        1.0,
        ge=-1000,
        le=1000,
        description="truncation: 1 full variety, towards 0 the average image",
        json_schema_extra=_flag("--psi", "--trunc"),
    )
    centers: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="psi pulls w towards the nearest of this many centers of its class, not towards the average",
        json_schema_extra=_flag("--centers"),
    )
    psi_cutoff: int | None = Field(
        None,
        ge=0,
        description="number of first layers that are truncated; without it all",
        json_schema_extra=_flag("--psi-cutoff"),
    )
    noise_mode: NoiseMode = Field(
        "const",
        description="noise of the synthesis: the network's own (const), drawn from the seed (random), or none",
        json_schema_extra=_flag("--noise-mode"),
    )

    @model_validator(mode="after")
    def _centers_pull(self) -> "StyleOptions":
        if self.centers is not None and self.psi == 1:
            raise ValueError(
                f"--centers {self.centers} has no effect with --psi 1: give a smaller --psi, such as 0.5, or leave "
                f"--centers out"
            )
        return self
