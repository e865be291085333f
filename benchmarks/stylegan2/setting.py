"""The size of the networks that a benchmark measures, the batch, and the machine. Flags come from these fields."""

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from imaging.sizes import parse_size
from models.stylegan2.config import FP16_CLAMP
from torch_utils.config import build, flag
from torch_utils.device import keep_freed_memory, resolve_device, resolve_precision, set_precision
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2


class Setting(BaseModel):
    """One measurement. Loss weights, style mixing and noise are training's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: str = flag("64", "--resolution", "Networks", "pixels, or WIDTHxHEIGHT")
    channel_base: int = flag(16384, "--channel-base", "Networks", "channels times resolution", ge=4)
    channel_max: int = flag(512, "--channel-max", "Networks", "maximum channels of a layer", ge=1)
    mapping_layers: int = flag(8, "--mapping-layers", "Networks", "layers of the mapping network", ge=1, le=32)
    batch: int = flag(8, "--batch", "Measurement", "images per step", ge=1)
    iterations: int = flag(3, "--iterations", "Measurement", "timings of each phase; the median is printed", ge=1)
    threads: int = flag(2, "--threads", "Machine", "CPU threads", ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda", "mps"] = flag("cpu", "--device", "Machine", "compute device")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = flag(
        "fp32", "--precision", "Machine", "number format of the convolutions"
    )

    def resolved(self) -> "Setting":
        """The setting with a device and a precision of this machine.

        Raises:
            ValueError: if the machine lacks the device or the precision.
        """
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device, training=True)
        return self.model_copy(update={"device": device.type, "precision": precision})

    def prepare(self) -> torch.device:
        """Set threads, precision and allocator as training does; return the device."""
        torch.set_num_threads(self.threads)
        set_precision(self.train_config().arithmetic)
        keep_freed_memory()
        return torch.device(self.device)

    def train_config(self) -> StyleGAN2Config:
        """The configuration of a training run with these networks, without classes.

        Raises:
            ValueError: for a size that StyleGAN2 cannot have, or a batch that does not suit the minibatch-std group.
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
        values: dict[str, Any] = {
            f"{of}.{name}": v for of in ("generator", "discriminator") for name, v in shared.items()
        }
        values |= {"pace.batch": self.batch, "pace.batch_gpu": self.batch}
        return build(StyleGAN2Config, values | {"device": self.device, "precision": self.precision})

    def recipe(self) -> StyleGAN2:
        """Networks with random weights, and their training."""
        torch.manual_seed(0)
        return StyleGAN2(self.train_config(), torch.zeros(0), torch.device(self.device))
