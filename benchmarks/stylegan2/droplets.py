"""The droplet experiment of StyleGAN2 in small: AdaIN in the place of weight demodulation (Karras et al. 2020, 2)."""

from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.grid import save_image, tile
from imaging.pixels import to_pixels
from models.conditioning import StyleAdaIN, statistics
from models.stylegan2 import generator as networks
from models.stylegan2.generator import Generator, GeneratorLayer
from models.stylegan2.layers import FullyConnected
from torch_utils.cli import Command, option, progress, say
from torch_utils.device import switches
from torch_utils.flags import flags, given
from training import plan as plans
from training.run import Run, reading, step
from training.session import build_recipe
from training.stylegan2.config import StyleGAN2Config

EXAMPLES = """
Examples:
  python -m benchmarks.stylegan2.droplets --data demo:64 --kimg 40 --sheet out/droplets.png
"""
SIGNS = ("norm", "spot", "peak")
SAMPLES, SHOWN = 64, 6  # measured, and on the sheet


@click.command(cls=Command, epilog=EXAMPLES)
@option("--sheet", type=click.Path(path_type=Path), default=Path("out/droplets.png"), group="Output", help="picture")
@option("--set", "sets", multiple=True, metavar="NAME=VALUE", group="Training", help="any other setting of train.py")
def main(sheet: Path, sets: tuple[str, ...], **params: Any) -> None:
    """Train StyleGAN2 with demodulation and with AdaIN, and look for droplets in their feature maps.

    A droplet is a small spot of very large activations, by which a network chooses the statistics that instance norm
    divides by. The last convolution of each size is measured, before the norm: "norm" is the largest norm of a map
    beside the median of all maps, "spot" the largest magnitude of a position beside the median of all positions, "peak"
    the largest distance from the mean of a map in its standard deviations. The picture shows samples and the magnitudes
    at each size, on the left with demodulation, on the right with AdaIN, for the same latents.
    """
    values = {"preset": "demo", **given(StyleGAN2Config, params, sets)}
    found = {name: measured(trained(values, layer)) for name, layer in LAYERS.items()}
    columns = "  ".join(f"{f'{what}, {name}':>18}" for what in SIGNS for name in LAYERS)
    say(f"{'size':>9}  {columns}")
    for size in found["AdaIN"].maps:
        both = [droplets(each.maps[size]) for each in found.values()]
        say(f"{size:>9}  " + "  ".join(f"{value:18.2f}" for pair in zip(*both, strict=True) for value in pair))
    tiles = [picture for i in range(SHOWN) for each in found.values() for picture in each.tiles(i)]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_image(tile(torch.stack(tiles), columns=len(tiles) // SHOWN, enlarged=True), sheet)


class AdaINLayer(GeneratorLayer):
    """StyleGAN1's layer: convolution, noise, bias, leaky ReLU, and then the style by AdaIN (Karras et al. 2019)."""

    def __init__(self, config: Any, inputs: int, outputs: int, size: tuple[int, int], up: int = 1) -> None:
        super().__init__(config, inputs, outputs, size, up)
        del self.affine  # of the demodulated convolution
        self.conv.demodulate = False
        self.adain = StyleAdaIN(config.w_dim, outputs)
        self.adain.affine = FullyConnected(config.w_dim, 2 * outputs)  # type: ignore[assignment]  # equalized rate

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        return self.adain(self.before_norm(x, noise), w)

    def before_norm(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """The features that AdaIN normalizes."""
        clamp = self.clamp or self.low_clamp or None
        return self.conv(x, x.new_ones(x.shape[:2]), noise, self.bias, act="lrelu", clamp=clamp)


LAYERS: dict[str, type[GeneratorLayer]] = {"demodulation": GeneratorLayer, "AdaIN": AdaINLayer}


def trained(values: dict[str, Any], layer: type[GeneratorLayer]) -> Generator:
    """The averaged generator of a run with a kind of layer. Nothing is written."""
    plan = plans.begin(values, Path("runs"))
    with mock.patch.object(networks, "GeneratorLayer", layer):
        recipe = build_recipe(plan)
    run, pace = Run(None, plan.config, plan.device, {}), plan.config.pace
    steps = -(-pace.images // pace.batch)
    with switches(plan.config.arithmetic), closing(reading(plan.sets, pace, run, 0)) as batches:
        for _ in progress(range(steps), steps, layer.__name__):
            step(recipe, batches, run, pace)
            recipe.after_step(run.clock.seen)
            run.clock.iteration += 1
            run.clock.seen += pace.batch
    run.close()
    return recipe.G_ema.eval()


class Measured(NamedTuple):
    """Samples, and their features before any norm."""

    images: Tensor  # [N, C, H, W]
    maps: dict[str, Tensor]  # of the last convolution at each size, "8x8": [N, C, H, W]

    def tiles(self, i: int) -> list[Tensor]:
        """Sample i, and the magnitudes of its features, each from 0 to their largest, uint8 [3, H, W]."""
        found = [F.interpolate(magnitude(maps[i : i + 1]), self.images.shape[2:])[0] for maps in self.maps.values()]
        tiles = [self.images[i], *(2 * each / each.max() - 1 for each in found)]
        return [to_pixels(each).expand(3, -1, -1) for each in tiles]


@torch.no_grad()
def measured(G: Generator) -> Measured:
    """Samples of a generator, classes in turn, with constant noise."""
    maps: dict[str, Tensor] = {}

    def keep(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        found = layer.before_norm(inputs[0], inputs[2]) if isinstance(layer, AdaINLayer) else output
        maps[f"{output.shape[3]}x{output.shape[2]}"] = found.float()

    hooks = [block.conv1.register_forward_hook(keep) for block in G.synthesis.blocks]
    device = next(G.parameters()).device
    z = torch.randn(SAMPLES, G.config.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    classes = G.config.classes
    c = F.one_hot(torch.arange(SAMPLES, device=device) % classes, classes).float() if classes else None
    images = G(z, c, noise_mode="const")
    for hook in hooks:
        hook.remove()
    return Measured(images, maps)


def magnitude(maps: Tensor) -> Tensor:
    """The root mean square over feature maps at each position, [N, C, H, W] -> [N, 1, H, W]."""
    return maps.square().mean(1, keepdim=True).sqrt()


def droplets(maps: Tensor) -> tuple[float, float, float]:
    """`SIGNS` of droplets in feature maps [N, C, H, W], means over samples, as the help explains them."""
    norms, spots = maps.flatten(2).norm(dim=2), magnitude(maps).flatten(1)
    mean, std = statistics(maps, "instance")
    norm, spot = (float((each.amax(1) / each.median(1).values).mean()) for each in (norms, spots))
    return norm, spot, float(((maps - mean) / std).abs().flatten(1).amax(1).mean())


main.params += flags(StyleGAN2Config)

if __name__ == "__main__":
    main()
