"""How long the phases of training and sampling of any model take, and what share of the machine's best that is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import torch

from benchmarks.speed import Products, convolution_peak, counted, product_peak, timings
from models.family import Shape
from torch_utils.cli import SET, Command, Size, option, say
from torch_utils.device import keep_freed_memory, peak_memory, resolve_device, resolve_precision, set_precision
from torch_utils.flags import given
from torch_utils.stats import Collector
from training.course import Asked, Facts
from training.courses import every, find
from training.phase import Phase
from training.recipe import Recipe
from training.trial import capture_phases, compile_passes, inputs

Call = Callable[[int], Any]  # gets the number of the round
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"])
DEVICES = click.Choice(["auto", "cpu", "cuda", "mps"])
EXAMPLES = """
Examples:
  python -m benchmarks.step --model dit-s/2
  python -m benchmarks.step --model dit-s/2 --set sampling.steps=10 --set sampling.cfg_scale=1.5 --precision bf16
  python -m benchmarks.step --model adm --set compile=true
"""


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--model", type=click.Choice(every()), metavar="NAME", default="dit-s/2", group="Networks", help="what is trained"
)
@option("--resolution", type=Size(), default="32", group="Networks", help="pixels, or WIDTHxHEIGHT")
@option("--classes", type=click.IntRange(0), default=10, group="Networks", help="classes of the images; 0 for none")
@option("--preset", default="auto", group="Networks", help="a preset of train.py")
@SET
@option("--batch", type=click.IntRange(1), default=8, group="Measurement", help="images per step")
@option(
    "--iterations", type=click.IntRange(1), default=3, group="Measurement", help="timings of each; the median counts"
)
@option("--json", "as_json", is_flag=True, group="Measurement", help="print the times alone, as JSON")
@option("--threads", type=click.IntRange(1, 1024), default=2, group="Machine", help="CPU threads")
@option("--device", type=DEVICES, default="cpu", group="Machine", help="compute device")
@option("--precision", type=PRECISIONS, default="fp32", group="Machine", help="number format of large products")
def main(
    model: str, resolution: tuple[int, int], classes: int, batch: int, iterations: int, threads: int, **params: Any
) -> None:
    """Time one training step of a random network, phase by phase, and sampling as its runs show pictures.

    Data loading, averages of the weights and the report are left out.
    """
    device, course = resolve_device(params["device"]), find(model)
    precision = resolve_precision(params["precision"], device, training=True)
    values = {
        **course.models[model],
        "model": model,
        "device": device.type,
        "precision": precision,
        "pace.batch": batch,
    }
    values |= {"pace.batch_gpu": batch} | given(course.config, {}, params["sets"])
    config, _ = course.settle(Asked(params["preset"], Shape(*resolution, 3, classes), values))
    torch.set_num_threads(threads)
    set_precision(config.arithmetic)
    torch.manual_seed(0)
    recipe = course.recipe(config, Facts(torch.ones(classes)), device)
    times, calls = measure(recipe, iterations, partial(sampling, recipe))
    if params["as_json"]:
        say(json.dumps(asdict(times)))
        return
    counts = {name: counted(partial(call, iterations + 1)) for name, call in calls.items()}
    size = f"{model}, {resolution[1]}x{resolution[0]} pixels, {classes} classes, batch {batch}"
    head = f"{size}\n{device.type}, {precision}, {threads} threads\nmedians of {iterations}"
    say(table(head, times, counts, *peak(counts, device, DTYPES.get(precision, torch.float32))))


@dataclass(frozen=True)
class Times:
    """Seconds of the phases of training and of sampling, for one batch."""

    batch: int
    phase_seconds: dict[str, float]
    phase_intervals: dict[str, int]  # iterations from one step of a phase to the next
    sample_seconds: float  # 0 if the model makes no pictures
    peak_bytes: int

    def mean(self, phases: Mapping[str, float]) -> float:
        """A number of each phase, in a mean iteration."""
        return sum(phases[name] / interval for name, interval in self.phase_intervals.items())

    @property
    def speeds(self) -> dict[str, float]:
        """Images per second in a mean iteration of training, and in sampling."""
        speeds = {"training": self.batch / self.mean(self.phase_seconds)}
        return speeds | ({"sampling": self.batch / self.sample_seconds} if self.sample_seconds else {})


def measure(recipe: Recipe, iterations: int, sampling: Callable[[], Call | None]) -> tuple[Times, dict[str, Call]]:
    """Time the phases of a recipe, and then the call that `sampling` returns; return the times and all calls.

    Raises ValueError if the networks cannot be compiled or captured as the configuration asks.
    """
    keep_freed_memory()
    config, device = recipe.config, recipe.phases[0].skips.device
    for wish, change in ((config.compile, compile_passes), (config.cuda_graphs, capture_phases)):
        said = change(recipe) if wish else ""
        if "does not work" in said or "works in" in said:
            raise ValueError(said)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls: dict[str, Call] = {phase.name: partial(take, recipe, phase) for phase in recipe.phases}
    seconds, sample = timings(calls, iterations, device), sampling()
    if sample is not None:
        calls["sampling"] = sample
    sampled = timings({"sampling": sample}, iterations, device)["sampling"] if sample is not None else 0.0
    intervals = {phase.name: phase.interval for phase in recipe.phases}
    return Times(config.pace.batch, seconds, intervals, sampled, peak_memory(device)), calls


def take(recipe: Recipe, phase: Phase, iteration: int) -> None:
    """One step of one phase, as in the training loop."""
    terms = recipe.terms(phase, *inputs(recipe, phase, iteration))
    phase.step([terms], 1, Collector(phase.skips.device), recipe.config.pace.batch * iteration)


def sampling(recipe: Recipe) -> Call | None:
    """A call that makes a batch of pictures as metrics judge them; None if the model makes none."""
    judged, count = recipe.judged(), recipe.config.pace.batch
    return None if judged is None else lambda iteration: list(judged.sample(judged.requests(range(count), None), count))


def peak(counts: Mapping[str, tuple[int, Products]], device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """The fastest operation of the kind of which a model mostly consists, and its operations per second."""
    products = sum((made for _, made in counts.values()), Products())
    mostly = 2 * products.total() > sum(count for count, _ in counts.values())
    return product_peak(products, device, dtype) if mostly else convolution_peak(device, dtype)


def table(head: str, times: Times, counts: Mapping[str, tuple[int, Products]], shape: str, peak: float) -> str:
    """A measurement as text, with the operations of each phase and of sampling, for one batch.

    `shape` and `peak` are those of `peak`.
    """
    lines = [
        head,
        f"PyTorch {torch.__version__}",
        "",
        f"{'':<10}  {'ms':>9}  {'every':>6}  {'GFLOP':>9}  {'GFLOP/s':>9}",
    ]
    for name, t in times.phase_seconds.items():
        n = counts[name][0] / 1e9
        lines.append(f"{name:<10}  {t * 1e3:9.1f}  {times.phase_intervals[name]:6}  {n:9.2f}  {n / t:9.1f}")
    lines += ["", f"{'':<10}  {'images/s':>9}  {'GFLOP/image':>12}  {'GFLOP/s':>9}  {'of peak':>8}"]
    training = times.mean({name: count for name, (count, _) in counts.items()})
    for name, speed in times.speeds.items():
        each = (training if name == "training" else counts[name][0]) / times.batch / 1e9
        lines.append(f"{name:<10}  {speed:9.2f}  {each:12.3f}  {speed * each:9.1f}  {speed * each / peak * 1e9:8.1%}")
    return "\n".join(
        [*lines, "", f"peak: {peak / 1e9:.1f} GFLOP/s, {shape}", f"memory: at most {times.peak_bytes / 2**20:.0f} MiB"]
    )


if __name__ == "__main__":
    main()
