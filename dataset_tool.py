"""Any pictures -> a data set: one ZIP of PNGs of one size that train.py reads quickly."""

from pathlib import Path
from typing import Literal

import click

from imaging.conversion import Report, convert
from imaging.sizes import spell
from imaging.transforms import NAMES
from torch_utils.cli import Command, Size, counted, option, progress, say, terminable
from torch_utils.paths import check_folder

EXAMPLES = """
Examples:
  python dataset_tool.py --source photos --dest photos-256x256.zip --resolution 256x256
  python dataset_tool.py --source animals.zip --dest animals.zip --resolution 128x96 --labels folders --overwrite
"""
NAMED_AT_MOST = 20


@click.command(cls=Command, epilog=EXAMPLES)
@option("--source", required=True, type=click.Path(), group="Input", help="folder or ZIP of images, nested as you like")
@option("--max-images", type=click.IntRange(min=0), default=0, group="Input", help="use only this many; 0 uses all")
@option(
    "--labels",
    type=click.Choice(["auto", "none", "folders"]),
    default="auto",
    group="Input",
    help="classes: from dataset.json where there is one (auto), not at all, or one for each sub-folder",
)
@option(
    "--dest", required=True, type=click.Path(), group="Output", help="ZIP to write; without .zip at its end, a folder"
)
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
    check_dest(Path(source), Path(dest), overwrite)
    with terminable():
        tell(convert(source, dest, resolution, labels, max_images, progress), dest)


def check_dest(source: Path, dest: Path, overwrite: bool) -> None:
    """Makes sure that `dest` can be written, before the pictures are looked at. ValueError says why it cannot."""
    if dest.name in ("", ".."):
        raise ValueError(f"--dest {dest} says where, but gives no name: add the name of a ZIP or folder")
    if source.is_dir() and source.resolve() in (dest.resolve(), *dest.resolve().parents):
        raise ValueError(f"--dest {dest} lies in --source {source}: name a place outside of it")
    if dest.suffix.lower() == ".zip":
        if dest.is_dir():
            raise ValueError(f"--dest {dest} is a folder, and only files end in .zip: name another")
        if dest.exists() and not overwrite:
            raise ValueError(f"--dest {dest} is there already: name another file, or add --overwrite")
    elif dest.exists() and not (dest.is_dir() and not any(dest.iterdir())):
        why = ", and --overwrite replaces only files that end in .zip" if overwrite else ""
        raise ValueError(f"--dest {dest} is there already and is not an empty folder{why}: name another")
    check_folder(dest.parent, f"--dest {dest}")


def tell(report: Report, dest: str) -> None:
    """What was done, in a few lines."""
    images = counted(report.written, f"{NAMES[report.mode]} image")
    say(f"wrote {images} of {spell(report.height, report.width)} to {dest}")
    say(report.labels_note)
    if report.enlarged:
        were = "was" if report.enlarged == 1 else "were"
        say(f"{counted(report.enlarged, 'image')} {were} smaller than that and had to be enlarged")
    if report.broken:
        were = "was" if len(report.broken) == 1 else "were"
        say(f"{counted(len(report.broken), 'broken image')} {were} left out:")
        for reason in list(report.broken.values())[:NAMED_AT_MOST]:
            say(f"  {reason}")
        if len(report.broken) > NAMED_AT_MOST:
            say(f"  ... and {len(report.broken) - NAMED_AT_MOST} more")


if __name__ == "__main__":
    main()
