"""What is measured: the size of the networks, the batch, and the machine's share. Flags come from these fields."""

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from imaging.sizes import parse_size
from models.stylegan2.config import FP16_CLAMP
from torch_utils.config import build
from torch_utils.device import resolve_device, resolve_precision
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2


def _flag(name: str, group: str) -> dict[str, Any]:
    return {"flag": name, "group": group}


class Setting(BaseModel):
    """One measurement. The rest is as in training: weights of the losses, style mixing, noise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: str = Field(
        "64", description="pixels, or WIDTHxHEIGHT", json_schema_extra=_flag("--resolution", "Networks")
    )
    channel_base: int = Field(
        16384,
        ge=4,
        description="feature maps times resolution, up to --channel-max",
        json_schema_extra=_flag("--channel-base", "Networks"),
    )
    channel_max: int = Field(
        512, ge=1, description="most feature maps of a layer", json_schema_extra=_flag("--channel-max", "Networks")
    )
    mapping_layers: int = Field(
        8,
        ge=1,
        le=32,
        description="layers of the mapping network",
        json_schema_extra=_flag("--mapping-layers", "Networks"),
    )
    batch: int = Field(8, ge=1, description="images in a step", json_schema_extra=_flag("--batch", "Measurement"))
    iterations: int = Field(
        3,
        ge=1,
        description="timings of each phase, after one that is not counted; their median is told",
        json_schema_extra=_flag("--iterations", "Measurement"),
    )
    threads: int = Field(2, ge=1, le=1024, description="of the CPU", json_schema_extra=_flag("--threads", "Machine"))
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "cpu", description="where to compute", json_schema_extra=_flag("--device", "Machine")
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="number format of the convolutions", json_schema_extra=_flag("--precision", "Machine")
    )

    def resolved(self) -> "Setting":
        """The same with a device and a precision that this machine has.

        Raises:
            ValueError: when it lacks those that were asked for.
        """
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device, training=True)
        return self.model_copy(update={"device": device.type, "precision": precision})

    def train_config(self) -> StyleGAN2Config:
        """The configuration of a training run with these networks, without classes.

        Raises:
            ValueError: for sizes that no network has, or a batch that does not suit the minibatch-std group.
        """
        height, width = parse_size(self.resolution)
        shared = {
            "height": height,
            "width": width,
            "channel_base": self.channel_base,
            "channel_max": self.channel_max,
            "mapping_layers": self.mapping_layers,
            "clamp": FP16_CLAMP if self.precision == "fp16" else 0.0,
        }
        values: dict[str, Any] = {f"generator.{name}": value for name, value in shared.items()}
        values |= {f"discriminator.{name}": value for name, value in shared.items()}
        values |= {"pace.batch": self.batch, "pace.batch_gpu": self.batch}
        return build(StyleGAN2Config, values | {"device": self.device, "precision": self.precision})

    def recipe(self) -> StyleGAN2:
        """Networks with random weights and all that trains them."""
        torch.manual_seed(0)
        return StyleGAN2(self.train_config(), torch.zeros(0), torch.device(self.device))
