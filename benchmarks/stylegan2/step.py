"""How long the phases of training and sampling take, and what share of the machine's best that is.

`python -m benchmarks.stylegan2.step --resolution 64`
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks import flops
from benchmarks.stylegan2.setting import Setting
from benchmarks.timing import timings
from models.stylegan2.generator import Generator, GeneratorBlock
from torch_utils.cli import Command, option, say
from torch_utils.config import build, to_dict
from torch_utils.device import peak_memory
from torch_utils.flags import flags, given
from torch_utils.stats import Collector
from training.draws import Draws
from training.phase import Phase
from training.recipe import Pictures
from training.stylegan2.recipe import StyleGAN2

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.step --resolution 64
  python -m benchmarks.stylegan2.step --resolution 256 --batch 32 --device cuda --precision bf16 --iterations 20
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--json", "as_json", is_flag=True, group="Measurement", help="print JSON instead of a table")
@option("--times", is_flag=True, group="Measurement", help="print only the times, as JSON, and measure no operations")
def main(as_json: bool, times: bool, **params: Any) -> None:
    """Time one training step of random networks, phase by phase, and sampling.

    A phase is weighted by its frequency: Gmain + Gpath / 4 + Dmain + Dr1 / 16. Data loading, the average of G and the
    report are left out.
    """
    setting = build(Setting, given(Setting, params)).resolved()
    if times:
        say(json.dumps(asdict(measure_times(setting)[0])))
        return
    found = measure(setting)
    say(json.dumps(asdict(found)) if as_json else table(found))


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
        return self.batch / sum(t / self.phase_intervals[name] for name, t in self.phase_seconds.items())

    @property
    def sample_speed(self) -> float:
        """Images per second."""
        return self.batch / self.sample_seconds


@dataclass(frozen=True)
class Speed:
    """One measurement. Operations are counted by `flops.count`, for one batch."""

    setting: dict[str, Any]
    times: Times
    phase_flops: dict[str, int]
    sample_flops: int
    convolution_peak: float  # operations per second
    convolution_shape: str
    torch: str = torch.__version__
    machine: str = platform.machine()

    @property
    def step_flops(self) -> float:
        """Operations of a mean training iteration."""
        return sum(n / self.times.phase_intervals[name] for name, n in self.phase_flops.items())


def measure_times(setting: Setting) -> tuple[Times, StyleGAN2, dict[str, Callable[[int], Any]]]:
    """Time everything; return the times, the networks, and the calls. Changes the number of PyTorch's threads."""
    device, recipe = setting.prepare(), setting.recipe()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls: dict[str, Callable[[int], Any]] = {p.name: partial(take, recipe, p) for p in recipe.phases}
    seconds = timings(calls, setting.iterations, device)
    calls["sampling"] = partial(sample, recipe.G_ema.fold(), setting.batch)
    seconds |= timings({"sampling": calls["sampling"]}, setting.iterations, device)
    intervals = {phase.name: phase.interval for phase in recipe.phases}
    sampling = seconds.pop("sampling")
    return Times(setting.batch, seconds, intervals, sampling, peak_memory(device)), recipe, calls


def measure(setting: Setting) -> Speed:
    """Time everything, count operations, and find the fastest convolution."""
    times, recipe, calls = measure_times(setting)
    operations = {name: flops.count(partial(call, setting.iterations + 1)) for name, call in calls.items()}
    *_, block = recipe.G.synthesis.blocks
    assert isinstance(block, GeneratorBlock)
    convolution = flops.convolution_peak(torch.device(setting.device), block.dtype)
    return Speed(
        setting=to_dict(setting),
        times=times,
        sample_flops=operations.pop("sampling"),
        phase_flops=operations,
        convolution_peak=convolution.flops,
        convolution_shape=convolution.shape,
    )


def take(recipe: StyleGAN2, phase: Phase, iteration: int) -> None:
    """One step of one phase, as in the training loop."""
    config, device = recipe.config, recipe.path_mean.device
    G, batch = config.generator, config.pace.batch
    reals = None
    if phase.reads_images:
        pixels = torch.randint(256, [batch, G.channels, G.height, G.width], dtype=torch.uint8, device=device)
        reals = recipe.batch(Pictures(pixels, torch.zeros(batch, dtype=torch.long, device=device)))
    draws = Draws(config.seed, iteration, phase.name, batch, 0, batch, device)
    phase.step([recipe.losses(phase, reals, draws)], 1, Collector(device))


@torch.no_grad()
def sample(G: Generator, batch: int, iteration: int) -> Tensor:
    """A batch of images with constant noise, made by a folded generator as generate.py does."""
    draws = Draws(0, iteration, "sampling", batch, 0, batch, G.mapping.w_average.device)
    return G(draws.latents("z", G.config.z_dim), noise_mode="const")


def table(found: Speed) -> str:
    """A measurement as text."""
    s, times, batch = found.setting, found.times, found.times.batch
    lines = [
        f"{s['resolution']} pixels, channels {s['channel_base']} / resolution up to {s['channel_max']}, "
        f"{s['mapping_layers']} mapping layers, batch {batch}",
        f"{s['device']}, {s['precision']}, {s['threads']} threads, PyTorch {found.torch}; medians of {s['iterations']}",
        "",
        f"{'':<10}  {'ms':>9}  {'every':>6}  {'GFLOP':>9}  {'GFLOP/s':>9}",
    ]
    for name, t in times.phase_seconds.items():
        n = found.phase_flops[name]
        lines.append(f"{name:<10}  {t * 1e3:9.1f}  {times.phase_intervals[name]:6}  {n / 1e9:9.2f}  {n / t / 1e9:9.1f}")
    lines += ["", f"{'':<10}  {'images/s':>9}  {'GFLOP/image':>12}  {'GFLOP/s':>9}  {'of peak':>8}"]
    train, sampling = (times.train_speed, found.step_flops), (times.sample_speed, found.sample_flops)
    for name, (speed, operations) in {"training": train, "sampling": sampling}.items():
        rate = speed * operations / batch
        share = rate / found.convolution_peak
        lines.append(f"{name:<10}  {speed:9.2f}  {operations / batch / 1e9:12.3f}  {rate / 1e9:9.1f}  {share:8.1%}")
    lines += [
        "",
        f"peak: {found.convolution_peak / 1e9:.1f} GFLOP/s, a 3x3 convolution of {found.convolution_shape}",
        f"memory: at most {times.peak_bytes / 2**20:.0f} MiB",
    ]
    return "\n".join(lines)


main.params += flags(Setting)

if __name__ == "__main__":
    main()
