"""How long the phases of training and sampling take, and what share of the machine's best that is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import click
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmarks.speed import convolution_peak, operations, timings
from imaging.sizes import parse_size
from models.stylegan2.config import FP16_CLAMP
from models.stylegan2.generator import Generator
from torch_utils.cli import Command, option, say
from torch_utils.config import build, flag
from torch_utils.device import keep_freed_memory, peak_memory, resolve_device, resolve_precision, set_precision
from torch_utils.flags import flags, given
from torch_utils.stats import Collector
from training.phase import Phase
from training.recipe import Draws, Pictures
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2
from training.trial import capture_phases, compile_passes

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
    counts = {phase: operations(partial(call, setting.iterations + 1)) for phase, call in calls.items()}
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(setting.precision, torch.float32)
    say(table(setting, times, counts, *convolution_peak(torch.device(setting.device), dtype)))


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


@dataclass(frozen=True)
class Times:
    """Seconds of the phases of training and of sampling, for one batch."""

    batch: int
    phase_seconds: dict[str, float]
    phase_intervals: dict[str, int]  # iterations from one step of a phase to the next
    sample_seconds: float
    peak_bytes: int

    def mean(self, phases: Mapping[str, float]) -> float:
        """A number of each phase, in a mean iteration."""
        return sum(phases[name] / interval for name, interval in self.phase_intervals.items())

    @property
    def speeds(self) -> dict[str, float]:
        """Images per second in a mean iteration of training, and in sampling."""
        return {"training": self.batch / self.mean(self.phase_seconds), "sampling": self.batch / self.sample_seconds}


def measure(setting: StepSetting, name: str | None = None) -> tuple[Times, StyleGAN2, dict[str, Callable[[int], Any]]]:
    """Time everything, with one of `OPTIONS`; return the times, the networks and the calls. Sets the threads.

    Raises ValueError if the networks cannot be compiled or captured.
    """
    torch.set_num_threads(setting.threads)
    keep_freed_memory()
    device, recipe = torch.device(setting.device), setting.recipe(name)
    said = compile_passes(recipe) if name == "compile" else capture_phases(recipe) if name == "cuda-graphs" else ""
    if said and recipe.passes is recipe.plain and not any(phase.replay for phase in recipe.phases):
        raise ValueError(said)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls: dict[str, Callable[[int], Any]] = {p.name: partial(take, recipe, p) for p in recipe.phases}
    seconds = timings(calls, setting.iterations, device)
    calls["sampling"] = partial(sample, recipe.G_ema.fold(), setting.batch)
    sampling = timings({"sampling": calls["sampling"]}, setting.iterations, device)["sampling"]
    intervals = {phase.name: phase.interval for phase in recipe.phases}
    return Times(setting.batch, seconds, intervals, sampling, peak_memory(device)), recipe, calls


def take(recipe: StyleGAN2, phase: Phase, iteration: int) -> None:
    """One step of one phase, as in the training loop."""
    device, batch, G = recipe.path_mean.device, recipe.config.pace.batch, recipe.config.generator
    reals = None
    if phase.reads_images:
        pixels = torch.randint(256, [batch, G.channels, G.height, G.width], dtype=torch.uint8, device=device)
        reals = recipe.batch(Pictures(pixels, torch.zeros(batch, dtype=torch.long, device=device)))
    draws = Draws(recipe.config.seed, iteration, phase.name, batch, 0, batch, device)
    phase.step([recipe.terms(phase, reals, draws)], 1, Collector(device))


@torch.no_grad()
def sample(G: Generator, batch: int, iteration: int) -> Tensor:
    """A batch of images with constant noise, made by a folded generator as generate.py does."""
    draws = Draws(0, iteration, "sampling", batch, 0, batch, G.mapping.w_average.device)
    return G(draws.latents("z", G.config.z_dim), noise_mode="const")


def table(setting: StepSetting, times: Times, counts: dict[str, int], shape: str, peak: float) -> str:
    """A measurement as text, with the operations of each phase and of sampling, for one batch.

    `shape` and `peak` are those of `convolution_peak`.
    """
    lines = [
        f"{setting}",
        f"PyTorch {torch.__version__}; medians of {setting.iterations}",
        "",
        f"{'':<10}  {'ms':>9}  {'every':>6}  {'GFLOP':>9}  {'GFLOP/s':>9}",
    ]
    for name, t in times.phase_seconds.items():
        n = counts[name] / 1e9
        lines.append(f"{name:<10}  {t * 1e3:9.1f}  {times.phase_intervals[name]:6}  {n:9.2f}  {n / t:9.1f}")
    lines += ["", f"{'':<10}  {'images/s':>9}  {'GFLOP/image':>12}  {'GFLOP/s':>9}  {'of peak':>8}"]
    for (name, speed), count in zip(times.speeds.items(), (times.mean(counts), counts["sampling"]), strict=True):
        each = count / times.batch / 1e9
        lines.append(f"{name:<10}  {speed:9.2f}  {each:12.3f}  {speed * each:9.1f}  {speed * each / peak * 1e9:8.1%}")
    lines += ["", f"peak: {peak / 1e9:.1f} GFLOP/s, a 3x3 convolution of {shape}"]
    return "\n".join([*lines, f"memory: at most {times.peak_bytes / 2**20:.0f} MiB"])


main.params += flags(StepSetting)

if __name__ == "__main__":
    main()
