"""`python -m training.augment`: what the discriminator would see of a data set."""

from pathlib import Path

import click
import torch
from PIL import Image

from imaging.dataset import DataConfig, open_dataset
from imaging.grid import save_image, sheet
from imaging.imageset import ImageSet
from imaging.pixels import to_images, to_pil, to_pixels
from torch_utils.cli import Command, option, say
from training.augment.chances import Drawn
from training.augment.config import AugmentConfig, Pipe
from training.augment.pipeline import Augmentation
from training.draws import Draws

EXAMPLES = """
Examples:
  python -m training.augment
  python -m training.augment --data ffhq.zip --p 0.3 --seed 1 --out ffhq-augmented.png
"""
ROWS: tuple[Pipe, ...] = ("blit", "geom", "color", "filter", "noise", "cutout", "bgc", "bgcfnc")


@click.command(cls=Command, epilog=EXAMPLES)
@option("--data", default="demo:64", metavar="TEXT", group="Data", help="As of train.py.")
@option("--count", type=click.IntRange(1, 100), default=10, group="Data", help="Pictures, from the first on.")
@option("--p", type=click.FloatRange(0, 1), default=1.0, group="Augmentation", help="Probability of each.")
@option("--seed", type=click.IntRange(0), default=0, group="Augmentation", help="Of what is drawn.")
@option("--out", type=click.Path(path_type=Path), default=Path("augmented.png"), group="Output", help="The file.")
def main(data: str, count: int, p: float, seed: int, out: Path) -> None:
    """Show pictures as D would see them, a row for each kind of augmentation and for all that --augpipe combines."""
    save_image(contact_sheet(open_dataset(DataConfig(path=data)), count, p, seed), out)
    say(f"wrote {out}")


def contact_sheet(dataset: ImageSet, count: int, p: float, seed: int) -> Image.Image:
    """The first `count` pictures of a set as they are, and a row of them for each of `ROWS`."""
    pixels = torch.stack([torch.as_tensor(dataset.read(i)) for i in range(min(count, dataset.count))])
    images, height, width = to_images(pixels), dataset.height, dataset.width
    draws = Draws(seed, 0, "sheet", len(images), 0, len(images), images.device)
    rows = [images]
    for pipe in ROWS:
        names = AugmentConfig(pipe=pipe).transformations
        augmentation = Augmentation(names, height, width, images.device)
        rows.append(augmentation(images, torch.tensor(p), Drawn(draws, pipe)))
    return sheet([[to_pil(to_pixels(image)) for image in row] for row in rows], ["as it is", *ROWS], [])


if __name__ == "__main__":
    main()
