"""Any pictures -> a data set: one ZIP of PNGs of one size that train.py reads quickly."""

from pathlib import Path
from typing import Literal

import click

from imaging.conversion import Report, convert
from imaging.sizes import spell
from imaging.transforms import NAMES
from torch_utils.cli import Command, Size, option, progress, say

EXAMPLES = """
Examples:
  python dataset_tool.py --source photos --dest photos-256x256.zip --resolution 256x256
  python dataset_tool.py --source animals.zip --dest animals.zip --resolution 128x96 --labels folders --overwrite
"""
NAMED_AT_MOST = 20


@click.command(cls=Command, epilog=EXAMPLES)
@option("--source", required=True, type=str, group="Input", help="folder or ZIP of images, nested as you like")
@option("--max-images", type=click.IntRange(min=0), default=0, group="Input", help="use only this many; 0 uses all")
@option(
    "--labels",
    type=click.Choice(["auto", "none", "folders"]),
    default="auto",
    group="Input",
    help="classes: from dataset.json where there is one (auto), not at all, or one for each sub-folder",
)
@option("--dest", required=True, type=str, group="Output", help="ZIP to write; without .zip at its end, a folder")
@option(
    "--resolution", type=Size(), group="Output", help="size in pixels; not needed if all images have one valid size"
)
@option("--overwrite", is_flag=True, group="Output", help="replace a ZIP that is there already")
def main(
    source: str,
    max_images: int,
    labels: Literal["auto", "none", "folders"],
    dest: str,
    resolution: tuple[int, int] | None,
    overwrite: bool,
) -> None:
    """Make a data set of one size from any PNG, JPEG, WebP, BMP, TIFF or GIF images.

    Images are turned upright, cropped at their centre to the aspect of the resolution and resized without aliasing.
    Broken ones are named and left out.
    """
    if Path(dest).is_file() and not overwrite:
        raise ValueError(f"--dest {dest} is there already: name another file, or add --overwrite")
    tell(convert(source, dest, resolution, labels, max_images, progress), dest)


def tell(report: Report, dest: str) -> None:
    """What was done, in a few lines."""
    say(f"wrote {report.written} {NAMES[report.mode]} images of {spell(report.height, report.width)} to {dest}")
    say(report.labels_note)
    if report.enlarged:
        say(f"{report.enlarged} images were smaller than that and had to be enlarged")
    if report.broken:
        say(f"{len(report.broken)} broken images were left out:")
        for reason in list(report.broken.values())[:NAMED_AT_MOST]:
            say(f"  {reason}")
        if len(report.broken) > NAMED_AT_MOST:
            say(f"  ... and {len(report.broken) - NAMED_AT_MOST} more")


if __name__ == "__main__":
    main()
