"""A small tree of configurations, as the other rooms write theirs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loss(Frozen):
    gamma: float = Field(
        default=10,
        ge=0,
        description="Strength of R1.",
        json_schema_extra={"flag": "--gamma", "group": "Training", "by_preset": True},
    )
    betas: tuple[float, float] = (0.0, 0.99)
    mode: Literal["logistic", "hinge"] = Field(
        default="logistic", description="Kind of loss.", json_schema_extra={"flag": "--loss", "group": "Training"}
    )
    decay: float = Field(default=0.5, gt=0, lt=1)


class Generator(Frozen):
    channel_base: int = Field(default=32768, ge=1)
    layers: list[Annotated[int, Field(ge=1)]] = []
    mixed: tuple[int, str] = (1, "a")


class Train(Frozen):
    loss: Loss = Loss(gamma=5)
    generator: Generator = Generator()
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Seed of all draws.",
        json_schema_extra={"flag": "--seed", "group": "Run"},
    )
    kimg: float = Field(description="Length.", gt=0, json_schema_extra={"flag": "--kimg", "group": "Training"})
    mirror: bool = Field(default=True, description="Mirror.", json_schema_extra={"flag": "--mirror", "group": "Data"})
    clip: float | None = Field(
        default=None, gt=0, description="Clip.", json_schema_extra={"flag": "--clip", "group": "Data"}
    )
    rounds: int = Field(
        default=4,
        ge=1,
        description="Parts of a step.",
        json_schema_extra={"flag": "--rounds", "group": "Run", "word": "auto"},
    )
    batch: int | Literal["auto"] = "auto"
    outdir: Path = Path("runs")

    @model_validator(mode="after")
    def _fits(self) -> "Train":
        if self.batch == 13:
            raise ValueError("--set batch=13 brings bad luck: take another")
        return self
