"""Style transfer with a part exchanged, after the same pictures (Huang and Belongie 2017, section 7.1).

All decoders learn from the same losses and have the same convolutions, and start from random weights. Instance norm
after each convolution, and the features of content and style side by side in the place of AdaIN, were worse in the
paper.
"""

from itertools import chain
from pathlib import Path
from typing import TypeGuard

import click
import torch
from torch import Tensor, nn

from imaging.grid import save_image, sheet
from imaging.loader import batches
from models.adain.network import Decoder, full
from models.compute import Conv2d, set_compute
from sampling.originals import to_image
from torch_utils.cli import Command, option, progress, say
from torch_utils.stats import Collector
from training import plan as plans
from training.adain.config import AdaINRun
from training.adain.recipe import Distances, Pair, StyleTransfer
from training.course import Facts
from training.phase import Phase
from training.recipe import Draws, Pictures, placed

SHOWN = 4  # contents and styles of the sheet
EXAMPLES = """
Examples:
  python -m benchmarks.adain.ablation --encoder assets/style.safetensors --kimg 4
"""


class Normalized(StyleTransfer):
    """Instance norm after each convolution of the decoder but the last."""

    def __init__(self, config: AdaINRun, facts: Facts, device: torch.device) -> None:
        super().__init__(config, facts, device)
        *layers, last = self.network.decoder
        normed = [[layer, nn.InstanceNorm2d(layer.out_channels)] if _is(layer) else [layer] for layer in layers]
        self.decode = nn.Sequential(*chain(*normed), last).__call__


class Concatenated(StyleTransfer):
    """A decoder that is given the features of the content and of the style, instead of mixed ones."""

    def __init__(self, config: AdaINRun, facts: Facts, device: torch.device) -> None:
        super().__init__(config, facts, device)
        decoder = Decoder(config.style)
        place, first = next((i, layer) for i, layer in enumerate(decoder) if _is(layer))
        decoder[place] = Conv2d(2 * first.in_channels, first.out_channels, 3)
        decoder = placed(set_compute(decoder, config.arithmetic), device)
        adam = torch.optim.Adam(decoder.parameters(), config.optimizer.lr)
        self.phases = [Phase("decode", decoder, adam, reads_images=True)]
        self.decode = decoder.__call__

    def _distances(self, batch: Pair) -> Distances:
        net = self.network
        with torch.no_grad():
            theirs = [full(layer) for layer in net.encoder.features(batch.styles)]
            content = net.encode(batch.contents)
            wanted = net.mix(content, [net.statistics(theirs[-1])], [1.0])
        return self._judged(full(self.decode(torch.cat([content, theirs[-1]], 1))), wanted, theirs)


def _is(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(layer, nn.Conv2d)


VARIANTS: dict[str, type[StyleTransfer]] = {
    "AdaIN": StyleTransfer,
    "instance norm in the decoder": Normalized,
    "concatenation": Concatenated,
}


@click.command(cls=Command, epilog=EXAMPLES)
@option("--encoder", required=True, group="Networks", help="as of train.py --model adain")
@option("--data", default="scenes:64", group="Data", help="the contents, as of train.py")
@option("--styles", default="textures:64", group="Data", help="the styles, of the same size")
@option("--images", type=click.IntRange(1), default=1000, group="Data", help="pictures of each set")
@option("--kimg", type=float, default=4.0, group="Training", help="thousands of pairs that each decoder learns from")
@option("--lr", type=float, default=1e-3, group="Training", help="learning rate")
@option("--dest", type=click.Path(path_type=Path), default=Path("ablation.png"), group="Output", help="a sheet")
def main(encoder: str, data: str, styles: str, images: int, kimg: float, lr: float, dest: Path) -> None:
    """Train three decoders in the same way and compare their losses on held-out pairs."""
    given = {"model": "adain", "encoder": encoder, "data.path": data, "styles.path": styles, "pace.kimg": kimg}
    given |= {"data.max_images": images, "styles.max_images": images, "optimizer.lr": lr, "device": "cpu"}
    plan = plans.begin(given, Path("unused"))
    assert isinstance(plan.config, AdaINRun)
    rows, names = [], []
    say("  ".join([f"{'':28}", *(f"{name:>9}" for name in ("content", "style", "before"))]))
    for name, kind in VARIANTS.items():
        torch.manual_seed(0)
        recipe = kind(plan.config, Facts(torch.ones(0), plan.sets), plan.device)
        before = recipe.measure()
        learn(recipe, plan)
        after = recipe.measure()
        numbers = after["held out/content"], after["held out/style"], before["held out/style"]
        say("  ".join([f"{name:28}", *(f"{number:>9.4g}" for number in numbers)]))
        rows.append([to_image(picture[None], None) for picture in pictures_of(recipe)])
        names.append(name)
    save_image(sheet(rows, names, []), dest)


def learn(recipe: StyleTransfer, plan: plans.Plan) -> None:
    """Train a recipe for the length of its plan."""
    (phase,), pace = recipe.phases, plan.config.pace
    reading = [batches(dataset, pace.batch, plan.config.seed) for dataset in plan.sets.values()]
    for number in progress(range(steps := pace.images // pace.batch), steps, "steps"):
        batch = recipe.batch(*(Pictures(*next(each)) for each in reading))
        draws = Draws(0, number, phase.name, pace.batch, 0, pace.batch, plan.device)
        phase.step([recipe.losses(phase, batch, draws)], 1, Collector(plan.device), number * pace.batch)


@torch.no_grad()
def pictures_of(recipe: StyleTransfer) -> Tensor:
    """Held-out contents in held-out styles."""
    shown, decode = list[Tensor](), recipe.decode

    def kept(features: Tensor) -> Tensor:
        shown.append(decode(features))
        return shown[-1]

    recipe.decode = kept
    recipe.measure()
    return full(shown[0][:SHOWN])


if __name__ == "__main__":
    main()
