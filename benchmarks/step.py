"""How long the phases of training and sampling take, and what share of the machine's best that is.

`python -m benchmarks.step --resolution 64`
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks import flops
from benchmarks.setting import Setting
from benchmarks.timing import Times, timed
from models.stylegan2.generator import Generator, GeneratorBlock
from torch_utils.cli import Command, option, say
from torch_utils.config import build, to_dict
from torch_utils.device import keep_freed_memory, peak_memory, set_precision
from torch_utils.flags import flags, given
from torch_utils.stats import Collector
from training.draws import Draws
from training.phase import Phase
from training.recipe import Pictures
from training.stylegan2.recipe import StyleGAN2

EXAMPLES = """
Examples:
  python -m benchmarks.step --resolution 64
  python -m benchmarks.step --resolution 256 --batch 32 --device cuda --precision bf16 --iterations 20 --json
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option("--json", "as_json", is_flag=True, group="Measurement", help="Print JSON instead of a table.")
def main(as_json: bool, **params: Any) -> None:
    """Time one training step of random networks, phase by phase, and sampling.

    A phase is weighed by how often it is due: Gmain + Gpath / 4 + Dmain + Dr1 / 16. Data loading, the average of G and
    the report are not in it.
    """
    found = measure(build(Setting, given(Setting, params)).resolved())
    say(json.dumps(asdict(found)) if as_json else table(found))


@dataclass(frozen=True)
class Speed:
    """One measurement. Operations are those that `flops.count` counts, of a batch."""

    setting: dict[str, Any]
    times: Times
    phase_flops: dict[str, int]
    sample_flops: int
    convolution_peak: float  # operations a second
    convolution_shape: str
    torch: str = torch.__version__
    machine: str = platform.machine()

    @property
    def step_flops(self) -> float:
        """Of a mean training iteration."""
        return sum(n / self.times.phase_intervals[name] for name, n in self.phase_flops.items())


def measure(setting: Setting) -> Speed:
    """Times everything. Changes the number of PyTorch's threads."""
    torch.set_num_threads(setting.threads)
    device, recipe = torch.device(setting.device), setting.recipe()
    set_precision(recipe.config.arithmetic)
    keep_freed_memory()  # as training does
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls: dict[str, Callable[[int], Any]] = {p.name: partial(take, recipe, p) for p in recipe.phases}
    seconds = timings(calls, setting.iterations, device)
    calls["sampling"] = partial(sample, recipe.G_ema.fold(), setting.batch)
    seconds |= timings({"sampling": calls["sampling"]}, setting.iterations, device)
    peak = peak_memory(device)  # read before the operations are counted, which takes memory of its own
    operations = {name: flops.count(partial(call, setting.iterations + 1)) for name, call in calls.items()}
    convolution = flops.convolution_peak(device, highest_dtype(recipe))
    names = {phase.name: phase.interval for phase in recipe.phases}
    return Speed(
        setting=to_dict(setting),
        times=Times(setting.batch, {name: seconds[name] for name in names}, names, seconds["sampling"], peak),
        phase_flops={name: operations[name] for name in names},
        sample_flops=operations["sampling"],
        convolution_peak=convolution.flops,
        convolution_shape=convolution.shape,
    )


def highest_dtype(recipe: StyleGAN2) -> torch.dtype:
    """The type in which the block of the highest resolution computes."""
    *_, block = recipe.G.synthesis.blocks
    assert isinstance(block, GeneratorBlock)
    return block.dtype


def timings(calls: dict[str, Callable[[int], Any]], iterations: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each call over rounds in which all take their turn; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for iteration in range(iterations + 1):
        for name, call in calls.items():
            duration = timed(partial(call, iteration), device)
            if iteration:
                seconds[name].append(duration)
    return {name: median(durations) for name, durations in seconds.items()}


def take(recipe: StyleGAN2, phase: Phase, iteration: int) -> None:
    """One step of one phase, as the training loop takes it."""
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
    """A batch of images, constant noise, as generate.py makes them: by a folded generator."""
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
