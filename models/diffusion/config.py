"""What a denoiser's file says of the noise that it was taught to remove."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field

from imaging.imageset import Latent
from models.diffusion.prediction import Objective
from models.diffusion.process import STEPS, Process, Schedule
from torch_utils.config import flag

OBJECTIVE = (
    "what the network predicts: noise minus picture (flow), the noise (eps), the picture (x0), or a mixture (v); a "
    "classifier learns the same noise"
)


class NoiseConfig(BaseModel):
    """The process, and what the network predicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: Objective = flag("flow", "--objective", "Training", OBJECTIVE)
    schedule: Schedule = Field("linear", description="how noise grows from step to step; no effect with objective flow")
    learned_variance: bool = Field(False, description="also predict variances, in as many more channels")

    def process(self) -> Process:
        """All levels that the network knows: 1000."""
        if self.objective == "flow":
            return Process.straight(torch.arange(1, STEPS + 1, dtype=torch.float64, device="cpu") / STEPS)
        return Process.gaussian(self.schedule)


class NoisyConfig(BaseModel):
    """The noisy pictures that a network takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    height: int = Field(32, ge=1, le=2**16, description="picture height in pixels")
    width: int = Field(32, ge=1, le=2**16, description="picture width in pixels")
    channels: int = Field(3, ge=1, le=2**12, description="channels: 1 gray, 3 RGB, 4 RGBA, or those of a latent")
    latent: Latent | None = Field(None, description="what latents stand for; none for pixels")
    classes: int = Field(0, ge=0, le=2**20, description="number of classes; 0 is unconditional")
    noise: NoiseConfig = NoiseConfig()


class DenoiserConfig(NoisyConfig):
    """The pictures of a denoising network."""

    @property
    def outputs(self) -> int:
        """Channels of the prediction."""
        return self.channels * (2 if self.noise.learned_variance else 1)
