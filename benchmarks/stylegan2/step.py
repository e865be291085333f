"""How long the phases of training and sampling take, and what share of the machine's best that is.

`python -m benchmarks.stylegan2.step --resolution 64`
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import click
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmarks import flops
from benchmarks.timing import timings
from imaging.sizes import parse_size
from models.stylegan2.config import FP16_CLAMP
from models.stylegan2.generator import Generator, GeneratorBlock
from torch_utils.cli import Command, option, say
from torch_utils.config import build, flag
from torch_utils.device import keep_freed_memory, peak_memory, resolve_device, resolve_precision, set_precision
from torch_utils.flags import flags, given
from torch_utils.stats import Collector
from training.augment.chances import AugmentConfig
from training.draws import Draws
from training.phase import Phase
from training.recipe import Pictures
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2
from training.trial import capture_phases, compile_passes

OPTIONS = ("aug", "checkpoint-activations", "compile", "cuda-graphs")
EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.step --resolution 64
  python -m benchmarks.stylegan2.step --resolution 64 --with compile
  python -m benchmarks.stylegan2.step --resolution 256 --batch 32 --device cuda --precision bf16 --iterations 20
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--with", "name", type=click.Choice(OPTIONS), group="Measurement", help="take an option of train.py")
@option("--json", "as_json", is_flag=True, group="Measurement", help="print the times alone, as JSON")
def main(name: str | None, as_json: bool, **params: Any) -> None:
    """Time one training step of random networks, phase by phase, and sampling.

    A phase is weighted by its frequency: Gmain + Gpath / 4 + Dmain + Dr1 / 16. Data loading, the average of G and the
    report are left out.
    """
    setting = build(StepSetting, given(StepSetting, params)).resolved()
    times, recipe, calls = measure(setting, name)
    if as_json:
        say(json.dumps(asdict(times)))
        return
    operations = {phase: flops.count(partial(call, setting.iterations + 1)) for phase, call in calls.items()}
    *_, block = recipe.G.synthesis.blocks
    assert isinstance(block, GeneratorBlock)
    say(table(setting, times, operations, *flops.convolution_peak(torch.device(setting.device), block.dtype)))


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

    def recipe(self, option: str | None = None) -> StyleGAN2:
        """Networks with random weights, and their training, with an option of train.py such as "aug"."""
        config = self.train_config()
        changed: dict[str, Any] = {"augment": AugmentConfig(mode="fixed", p=0.5)} if option == "aug" else {}
        if option and not changed:
            changed = {option.replace("-", "_"): True}
        torch.manual_seed(0)
        return StyleGAN2(config.model_copy(update=changed), torch.zeros(0), torch.device(self.device))

    def __str__(self) -> str:
        return (
            f"{self.resolution} pixels, channels {self.channel_base} / resolution up to {self.channel_max}, "
            f"{self.mapping_layers} mapping layers, batch {self.batch}\n"
            f"{self.device}, {self.precision}, {self.threads} threads"
        )


@dataclass(frozen=True)
class Times:
    """Seconds of the phases of training and of sampling, for one batch."""

    batch: int
    phase_seconds: dict[str, float]
    phase_intervals: dict[str, int]  # iterations from one step of a phase to the next
    sample_seconds: float
    peak_bytes: int

    @property
    def train_speed(self) -> float:
        """Images per second in a mean iteration."""
        return self.batch / self.mean(self.phase_seconds)

    @property
    def sample_speed(self) -> float:
        """Images per second."""
        return self.batch / self.sample_seconds

    def mean(self, phases: Mapping[str, float]) -> float:
        """A number of each phase, in a mean iteration."""
        return sum(phases[name] / interval for name, interval in self.phase_intervals.items())


def measure(setting: StepSetting, name: str | None = None) -> tuple[Times, StyleGAN2, dict[str, Callable[[int], Any]]]:
    """Time everything; return the times, the networks, and the calls. Changes the number of PyTorch's threads.

    Args:
        setting: networks and machine.
        name: one of `OPTIONS`.

    Raises:
        ValueError: if the networks cannot be compiled or captured.
    """
    device, recipe = setting.prepare(), setting.recipe(name)
    said = compile_passes(recipe) if name == "compile" else capture_phases(recipe) if name == "cuda-graphs" else ""
    if said and recipe.passes is recipe.plain and not any(phase.replay for phase in recipe.phases):
        raise ValueError(said)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls: dict[str, Callable[[int], Any]] = {p.name: partial(take, recipe, p) for p in recipe.phases}
    seconds = timings(calls, setting.iterations, device)
    calls["sampling"] = partial(sample, recipe.G_ema.fold(), setting.batch)
    seconds |= timings({"sampling": calls["sampling"]}, setting.iterations, device)
    intervals = {phase.name: phase.interval for phase in recipe.phases}
    sampling = seconds.pop("sampling")
    return Times(setting.batch, seconds, intervals, sampling, peak_memory(device)), recipe, calls


def take(recipe: StyleGAN2, phase: Phase, iteration: int) -> None:
    """One step of one phase, as in the training loop."""
    config, device = recipe.config, recipe.path_mean.device
    G, batch = config.generator, config.pace.batch
    reals = None
    if phase.reads_images:
        pixels = torch.randint(256, [batch, G.channels, G.height, G.width], dtype=torch.uint8, device=device)
        reals = recipe.batch(Pictures(pixels, torch.zeros(batch, dtype=torch.long, device=device)))
    draws = Draws(config.seed, iteration, phase.name, batch, 0, batch, device)
    phase.step([recipe.terms(phase, reals, draws)], 1, Collector(device))


@torch.no_grad()
def sample(G: Generator, batch: int, iteration: int) -> Tensor:
    """A batch of images with constant noise, made by a folded generator as generate.py does."""
    draws = Draws(0, iteration, "sampling", batch, 0, batch, G.mapping.w_average.device)
    return G(draws.latents("z", G.config.z_dim), noise_mode="const")


def table(setting: StepSetting, times: Times, operations: dict[str, int], shape: str, peak: float) -> str:
    """A measurement as text.

    Args:
        setting: networks and machine.
        times: of the phases and of sampling.
        operations: of each for one batch, by name.
        shape, peak: the fastest convolution, and its operations per second.
    """
    lines = [
        f"{setting}",
        f"PyTorch {torch.__version__}; medians of {setting.iterations}",
        "",
        f"{'':<10}  {'ms':>9}  {'every':>6}  {'GFLOP':>9}  {'GFLOP/s':>9}",
    ]
    for name, t in times.phase_seconds.items():
        n = operations[name]
        lines.append(f"{name:<10}  {t * 1e3:9.1f}  {times.phase_intervals[name]:6}  {n / 1e9:9.2f}  {n / t / 1e9:9.1f}")
    lines += ["", f"{'':<10}  {'images/s':>9}  {'GFLOP/image':>12}  {'GFLOP/s':>9}  {'of peak':>8}"]
    train, sampling = (times.train_speed, times.mean(operations)), (times.sample_speed, operations["sampling"])
    for name, (speed, count) in {"training": train, "sampling": sampling}.items():
        each, rate = count / times.batch, speed * count / times.batch
        lines.append(f"{name:<10}  {speed:9.2f}  {each / 1e9:12.3f}  {rate / 1e9:9.1f}  {rate / peak:8.1%}")
    lines += [
        "",
        f"peak: {peak / 1e9:.1f} GFLOP/s, a 3x3 convolution of {shape}",
        f"memory: at most {times.peak_bytes / 2**20:.0f} MiB",
    ]
    return "\n".join(lines)


main.params += flags(StepSetting)

if __name__ == "__main__":
    main()
