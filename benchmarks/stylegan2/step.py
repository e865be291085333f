"""How long the phases of training of a StyleGAN2 of any width take, and its sampling."""

import json
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import click
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmarks import step
from benchmarks.speed import convolution_peak, counted
from benchmarks.step import Call, Times
from imaging.sizes import parse_size
from models.stylegan2.config import FP16_CLAMP
from models.stylegan2.generator import Generator
from torch_utils.cli import Command, option, say
from torch_utils.config import build, flag
from torch_utils.device import resolve_device, resolve_precision, set_precision
from torch_utils.flags import flags, given
from training.recipe import Draws
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2

# Options of train.py, and their settings.
OPTIONS: dict[str, dict[str, Any]] = {
    "aug": {"augment.mode": "fixed", "augment.p": 0.5},
    "checkpoint-activations": {"checkpoint_activations": True},
    "compile": {"compile": True},
    "cuda-graphs": {"cuda_graphs": True},
}
EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.step --resolution 64
  python -m benchmarks.stylegan2.step --resolution 64 --with compile
  python -m benchmarks.stylegan2.step --resolution 256 --batch 32 --device cuda --precision bf16 --iterations 20
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--with", "name", type=click.Choice(list(OPTIONS)), group="Measurement", help="take an option of train.py")
@option("--json", "as_json", is_flag=True, group="Measurement", help="print the times alone, as JSON")
def main(name: str | None, as_json: bool, **params: Any) -> None:
    """Time one training step of random networks, phase by phase, and sampling.

    A phase is weighted by its frequency: Gmain + Gpath / 4 + Dmain + Dr1 / 16. Data loading, the average of G and the
    report are left out.
    """
    setting = build(StepSetting, given(StepSetting, params)).resolved()
    times, _, calls = measure(setting, name)
    if as_json:
        say(json.dumps(asdict(times)))
        return
    counts = {phase: counted(partial(call, setting.iterations + 1)) for phase, call in calls.items()}
    dtype = step.DTYPES.get(setting.precision, torch.float32)
    peak = convolution_peak(torch.device(setting.device), dtype)
    say(step.table(f"{setting}\nmedians of {setting.iterations}", times, counts, *peak))


class StepSetting(BaseModel):
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

    def resolved(self) -> "StepSetting":
        """The setting with a device and a precision of this machine, or ValueError if the machine lacks them."""
        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device, training=True)
        return self.model_copy(update={"device": device.type, "precision": precision})

    def recipe(self, option: str | None = None) -> StyleGAN2:
        """Networks with random weights, without classes, and their training with one of `OPTIONS`."""
        height, width = parse_size(self.resolution)
        shared = self.model_dump(include={"channel_base", "channel_max", "mapping_layers"})
        shared |= {"height": height, "width": width, "clamp": FP16_CLAMP if self.precision == "fp16" else 0.0}
        networks = ("generator", "discriminator")
        values: dict[str, Any] = {f"{network}.{name}": v for network in networks for name, v in shared.items()}
        values |= {"pace.batch": self.batch, "pace.batch_gpu": self.batch}
        values |= {"device": self.device, "precision": self.precision} | OPTIONS.get(option or "", {})
        config = build(StyleGAN2Config, values)
        set_precision(config.arithmetic)
        torch.manual_seed(0)
        return StyleGAN2(config, torch.zeros(0), torch.device(self.device))

    def __str__(self) -> str:
        widths = f"channels {self.channel_base} / resolution up to {self.channel_max}"
        sizes = f"{self.resolution} pixels, {widths}, {self.mapping_layers} mapping layers, batch {self.batch}"
        return f"{sizes}\n{self.device}, {self.precision}, {self.threads} threads"


def measure(setting: StepSetting, name: str | None = None) -> tuple[Times, StyleGAN2, dict[str, Call]]:
    """Time everything, with one of `OPTIONS`; return the times, the networks and the calls. Sets the threads.

    Raises ValueError if the networks cannot be compiled or captured.
    """
    torch.set_num_threads(setting.threads)
    recipe = setting.recipe(name)
    times, calls = step.measure(recipe, setting.iterations, lambda: partial(sample, recipe.G_ema.fold(), setting.batch))
    return times, recipe, calls


@torch.no_grad()
def sample(G: Generator, batch: int, iteration: int) -> Tensor:
    """A batch of images with constant noise, made by a folded generator as generate.py does."""
    draws = Draws(0, iteration, "sampling", batch, 0, batch, G.mapping.w_average.device)
    return G(draws.latents("z", G.config.z_dim), noise_mode="const")


main.params += flags(StepSetting)

if __name__ == "__main__":
    main()
