"""How well pictures are projected: those that the network made itself, and drawn faces that it has never seen.

`python -m benchmarks.projection`
"""

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from PIL import Image
from torch import Tensor

from benchmarks.quality import HELD_OUT, common_size
from imaging.demo import DemoSet
from imaging.grid import save_image, sheet
from imaging.likeness import psnr
from imaging.pixels import to_images, to_pil
from models.families import read_network
from models.perceptual.likeness import pixel_likeness
from models.stylegan2.generator import Generator
from models.stylegan2.latentfile import Latents
from models.stylegan2.pivotal import Tuning, TuningSettings
from models.stylegan2.projector import Settings, Space
from models.stylegan2.sampler import StyleSampler
from sampling.opening import BUNDLED
from sampling.stylegan2.projection import Search
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import resolve_device, set_precision

EXAMPLES = """
Examples:
  python -m benchmarks.projection
  python -m benchmarks.projection --picture docs/projection.png --json
"""
WAYS = ("W", "W+", "W+ and PTI")


@dataclass(frozen=True)
class Result:
    """Of some targets projected in one way: PSNR in dB, and seconds for all of them; PTI's come on top of W+'s."""

    targets: str
    way: str
    count: int
    median: float
    minimum: float
    seconds: float


@click.command(cls=Command, epilog=EXAMPLES)
@option("--network", type=click.Path(path_type=Path), default=BUNDLED, group="Input", help="of the demo set")
@option("--made", type=click.IntRange(0), default=10, group="Input", help="pictures of the network: seeds 0 ... - 1")
@option("--drawn", type=click.IntRange(0), default=5, group="Input", help="held-out drawn faces")
@option("--steps", type=click.IntRange(1), default=300, group="Projection", help="of a projection")
@option("--pti-steps", type=click.IntRange(1), default=100, group="Projection", help="of the tuning")
@option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", group="Machine", help="where")
@option("--picture", type=click.Path(path_type=Path), group="Output", help="file for a sheet of the drawn faces")
@option("--json", "as_json", is_flag=True, group="Output", help="print JSON instead of a table")
def main(
    network: Path, made: int, drawn: int, steps: int, pti_steps: int, device: str, picture: Path | None, as_json: bool
) -> None:
    """Project pictures in W, in W+ and with the network tuned, and say how near the result comes (PSNR).

    The loss is that which needs no detector. Pictures of the network are made with psi 1 and its own noise, which the
    projection does not know.
    """
    set_precision("fp32")
    file = read_network(network)
    common_size([file])  # which refuses what is no network of the demo set
    G = file.part("G_ema")
    assert isinstance(G, Generator)
    G = G.to(resolve_device(device)).fold()
    results: list[Result] = []
    for name, pixels in {"made": _made(G, made), "drawn": _drawn(G, drawn)}.items():
        if not len(pixels):
            continue
        columns = []
        for way, pictures, seconds in _project(G, pixels, steps, pti_steps):
            values = psnr(pictures, pixels)
            columns.append((way, pictures, values))
            found = (float(values.median()), float(values.min()), round(seconds, 1))
            results.append(Result(name, way, len(pixels), *found))
            if not as_json:
                say(_row(results[-1]))
        if name == "drawn" and picture is not None:
            save_image(_sheet(pixels, columns), picture)
    if as_json:
        machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()}
        say(json.dumps({"steps": steps, "pti_steps": pti_steps, **machine, "results": [asdict(r) for r in results]}))


def _made(G: Generator, count: int) -> Tensor:
    """Pictures of the network, uint8 [N, 3, H, W]."""
    sampler = StyleSampler(G)
    pictures = [pixels.cpu() for pixels in sampler.sample(sampler.requests(range(count)))]
    return torch.stack(pictures) if pictures else torch.empty(0)


def _drawn(G: Generator, count: int) -> Tensor:
    """Drawn faces that no network has learnt from, uint8 [N, 3, H, W]."""
    if not count:
        return torch.empty(0)
    faces = DemoSet(G.config.height, G.config.width, count, seed=HELD_OUT)
    return torch.stack([torch.from_numpy(faces.read(i)) for i in range(count)])


def _project(G: Generator, pixels: Tensor, steps: int, pti_steps: int) -> Iterator[tuple[str, Tensor, float]]:
    """Of each of the `WAYS` its name, pictures uint8 [N, 3, H, W] and seconds."""
    images, embed = to_images(pixels).to(G.mapping.w_average.device), pixel_likeness()
    spaces: tuple[Space, ...] = ("w", "w+")
    for way, space in zip(WAYS, spaces, strict=False):
        start = time.perf_counter()
        run = Search(G, images, embed, Settings(space, steps), len(pixels), None)
        for _ in progress(run, len(run), way):
            pass
        yield way, _pictures(G, run.latents), time.perf_counter() - start
    start = time.perf_counter()
    tuning = Tuning(G, *run.latents, images, embed, TuningSettings(pti_steps, batch=len(pixels)), run.scale)
    for _ in progress(range(pti_steps), pti_steps, WAYS[-1]):
        tuning.step()
    yield WAYS[-1], _pictures(tuning.finish(), run.latents), time.perf_counter() - start


def _pictures(G: Generator, latents: Latents) -> Tensor:
    sampler = StyleSampler(G)
    return torch.stack([pixels.cpu() for pixels in sampler.sample(sampler.fitted(latents))])


def _row(result: Result) -> str:
    found = f"median {result.median:5.1f} dB  minimum {result.minimum:5.1f} dB  {result.seconds:7.1f} s"
    return f"{result.count:>3} {result.targets:<6} {result.way:<11} {found}"


def _sheet(pixels: Tensor, columns: list[tuple[str, Tensor, Tensor]]) -> Image.Image:
    """A row for each way with a column for each face, enlarged twice; the PSNR says how near it comes."""
    rows = [pixels, *(pictures for _, pictures, _ in columns)]
    tiles = [[_twice(to_pil(picture)) for picture in row] for row in rows]
    labels = ["target", *(f"{way}, {values.median():.1f} dB" for way, _, values in columns)]
    return sheet(tiles, labels, [])


def _twice(image: Image.Image) -> Image.Image:
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
