"""`python -m training.augment`: show a data set as the discriminator would see it."""

from pathlib import Path

import click
import torch

from imaging.dataset import DataConfig, open_dataset
from imaging.grid import save_image, sheet
from imaging.pixels import to_images, to_pil, to_pixels
from torch_utils.cli import Command, option, say
from training.augment.chances import Drawn
from training.augment.config import AugmentConfig, Pipe
from training.augment.pipeline import Augmentation
from training.recipe import Draws

EXAMPLES = """
Examples:
  python -m training.augment
  python -m training.augment --data ffhq.zip --p 0.3 --seed 1 --out ffhq-augmented.png
"""
ROWS: tuple[Pipe, ...] = ("blit", "geom", "color", "filter", "noise", "cutout", "bgc", "bgcfnc")


@click.command(cls=Command, epilog=EXAMPLES)
@option("--data", default="demo:64", metavar="TEXT", group="Data", help="Images, as in train.py.")
@option("--count", type=click.IntRange(1, 100), default=10, group="Data", help="Number of images, from the first.")
@option("--p", type=click.FloatRange(0, 1), default=1.0, group="Augmentation", help="Probability of each.")
@option("--seed", type=click.IntRange(0), default=0, group="Augmentation", help="Random seed.")
@option("--out", type=click.Path(path_type=Path), default=Path("augmented.png"), group="Output", help="Picture file.")
def main(data: str, count: int, p: float, seed: int, out: Path) -> None:
    """Show images as D would see them, with a row for each kind of augmentation and for two combinations."""
    dataset = open_dataset(DataConfig(path=data))
    images = to_images(torch.stack([torch.as_tensor(dataset.read(i)) for i in range(min(count, dataset.count))]))
    draws = Draws(seed, 0, "sheet", len(images), 0, len(images), images.device)
    rows = [images]
    for pipe in ROWS:
        names = AugmentConfig(pipe=pipe).transformations
        augmentation = Augmentation(names, dataset.height, dataset.width, images.device)
        rows.append(augmentation(images, torch.tensor(p), Drawn(draws, pipe)))
    save_image(sheet([[to_pil(to_pixels(image)) for image in row] for row in rows], ["as it is", *ROWS], []), out)
    say(f"wrote {out}")


if __name__ == "__main__":
    main()
