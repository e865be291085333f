"""Convert images to a data set that train.py reads quickly, or inspect a data set."""

import system.start  # noqa: F401 (first)

import io
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from imaging.conversion import ConversionOptions, ConversionReport, convert
from imaging.dataset import DataConfig, open_dataset
from imaging.grid import FORMATS, save_image
from imaging.imageset import ImageSet
from imaging.inspection import Inspection, inspect
from imaging.latentset import SUFFIX, open_latents
from imaging.setwriter import ArchiveWriter
from imaging.sizes import spell
from imaging.transforms import FILTERS, NAMES, TRANSFORMS
from imaging.workfile import pending, place_of
from models.diffusion import codec as codecs
from models.stylegan2.config import fits
from system.files import check_folder, real_path
from system.text import printable
from torch_utils.cli import Command, Group, Size, counted, option, progress, say, terminable
from torch_utils.device import resolve_device

EXAMPLES = """
Examples:
  python dataset_tool.py --source photos --dest photos-256x256.zip --resolution 256x256
  python dataset_tool.py --source animals.zip --dest animals-128x96.zip --resolution 128x96 --labels folders
  python dataset_tool.py --source cifar-10-python.tar.gz --dest cifar10.parquet
  python dataset_tool.py --source photos --dest 'photos-%06d.tar' --shard-size 5000 --resolution 256x256
  python dataset_tool.py --source clip.mp4 --every 10 --dest clip.zip --resolution 512x288 --transform pad
  python dataset_tool.py inspect photos --sheet photos.png

docs/data.md has a command for each format.
"""
ENCODE_EXAMPLES = """
Examples:
  python dataset_tool.py encode --source photos-256x256.zip --codec sd-vae-ft-mse --dest photos-latents.zip
"""
INSPECT_EXAMPLES = """
Examples:
  python dataset_tool.py inspect photos
  python dataset_tool.py inspect cifar-10-python.tar.gz --sheet cifar.png
"""
NAMED_AT_MOST = 20
LONGEST_NAME = 60  # letters of a class

LABELS = option(
    "--labels",
    default="auto",
    metavar="auto|none|folders|FILE",
    group="Input",
    help="classes: from dataset.json or the format itself (auto), none, one for each sub-folder (folders), or from a "
    "CSV or JSON file",
)
EVERY = option(
    "--every", type=click.IntRange(min=1), default=1, group="Input", help="use every n-th frame of a video", metavar="N"
)
WORKERS = option(
    "--workers", type=click.IntRange(min=0), default=0, group="Other", help="number of processes; 0 uses all cores"
)


@click.group(cls=Group, default="convert")
def main() -> None:
    """Data sets: `convert`, the default, makes one; `encode` makes one of latents; `inspect` looks at one."""


@main.command("convert", cls=Command, epilog=EXAMPLES)
@option("--source", required=True, type=click.Path(), group="Input", help="folder, ZIP, tar, CIFAR, MNIST, LSUN, ...")
@option("--max-images", type=click.IntRange(min=0), default=0, group="Input", help="use only this many; 0 uses all")
@LABELS
@EVERY
@option(
    "--dest",
    required=True,
    type=click.Path(),
    group="Output",
    help="x.zip, x.parquet, or WebDataset shards such as x-{0000..0009}.tar or x-%06d.tar; otherwise a folder",
)
@option(
    "--shard-size",
    type=click.IntRange(min=1),
    metavar="N",
    group="Output",
    help="images in each shard of x-%06d.tar (default: 1000)",
)
@option("--resolution", type=Size(), group="Output", help="size in pixels; not needed if all images have one size")
@option(
    "--transform",
    type=click.Choice(TRANSFORMS),
    default="center-crop",
    group="Output",
    help="how images get their size: center crop, crop on a black square (-wide, -tall), padded, or stretched",
)
@option("--resize-filter", type=click.Choice(FILTERS), default="lanczos", group="Output", help="filter for resizing")
@option(
    "--duplicates",
    type=click.Choice(["report", "drop", "keep"]),
    default="report",
    group="Output",
    help="images with equal pixels: count them, drop them, or do not look",
)
@option("--overwrite", is_flag=True, group="Output", help="replace an existing file, but never the source")
@option("--restart", is_flag=True, group="Output", help="do not continue an interrupted run of this --dest")
@WORKERS
def convert_command(
    source: str, dest: str, overwrite: bool, restart: bool, workers: int, shard_size: int | None, **options: Any
) -> None:
    """Make a data set of one size from images of any size: files in a folder, ZIP or tar, or a known data set.

    Images are turned upright, center-cropped to the aspect of the resolution and resized without aliasing. Broken
    images are named and left out. After an interruption, the same command continues. `inspect` looks at a set.
    """
    place = Path(dest)
    check_dest(Path(source), place, overwrite)
    before = pending(place)
    try:
        with terminable():
            chosen = ConversionOptions(shard_size=shard_size or 0, **options)
            report = convert(source, dest, chosen, workers, restart, progress, say)
    except BaseException as error:
        done = pending(place)
        if done and (done > before or not isinstance(error, Exception)):
            kept = f"{counted(done, 'image')} {'is' if done == 1 else 'are'} done and kept in {place_of(place)}"
            click.echo(f"{kept}: the same command continues from there", err=True)
        raise
    tell(report, dest)


def check_dest(source: Path, dest: Path, overwrite: bool) -> None:
    """ValueError, before any image is read, if `dest` cannot be written."""
    if dest.name in ("", ".."):
        raise ValueError(f"--dest {dest} has no name: add the name of a ZIP or folder")
    check_apart(source, dest, "--dest", f"--source {source}")
    if (ending := dest.suffix.lower()) in (".zip", ".parquet"):
        if dest.is_dir():
            raise ValueError(f"--dest {dest} is a folder, but a name in {ending} means a file: choose another name")
        if dest.exists() and not overwrite:
            raise ValueError(f"--dest {dest} exists already: name another file, or add --overwrite")
    elif dest.exists() and not (dest.is_dir() and not any(dest.iterdir())):
        why = " (--overwrite replaces only files)" if overwrite else ""
        raise ValueError(f"--dest {dest} exists already and is not an empty folder{why}: name another")
    check_folder(dest.parent, f"--dest {dest}")


def check_apart(source: Path, path: Path, flag: str, named: str) -> None:
    """ValueError, which names the option `flag`, if `path` is the source or in it, links included."""
    if source.is_dir() and real_path(source) in (real_path(path), *real_path(path).parents):
        raise ValueError(f"{flag} {path} is inside {named}: name a place outside")
    if path.is_file() and source.is_file() and path.samefile(source):
        raise ValueError(f"{flag} {path} is {named}, which is never replaced: name another file")


def tell(report: ConversionReport, dest: str) -> None:
    """Print what was done."""
    images = counted(report.written, f"{NAMES[report.mode]} image")
    say(f"wrote {images} of {spell(report.height, report.width)} to {dest}")
    hint(report.height, report.width)
    say("\n".join((report.labels_note, *report.notes)))
    if report.enlarged:
        say(f"enlarged {counted(report.enlarged, 'image')}")
    if report.duplicates:
        fate = "dropped" if report.dropped else "kept, which --duplicates drop would remove"
        say(f"{counted(report.duplicates, 'image')} with the pixels of an earlier one, {fate}:")
        _some([f"{name} = {first}" for name, first in report.twins], report.duplicates)
    if report.conflicting:
        say(f"{report.conflicting} of them with another label than the earlier one")
    if report.broken:
        say(f"{counted(len(report.broken), 'broken image')} left out:")
        _some(list(report.broken.values()), len(report.broken))


def hint(height: int, width: int) -> None:
    """Say which size is the nearest that a StyleGAN2 can have, if it cannot have this one."""
    if unfit := fits((height, width)):
        say(f"note: {unfit}")


def _some(lines: list[str], count: int) -> None:
    for line in lines[:NAMED_AT_MOST]:
        say(f"  {printable(line)}")
    if count > NAMED_AT_MOST:
        say(f"  ... and {count - NAMED_AT_MOST} more")


@main.command("encode", cls=Command, epilog=ENCODE_EXAMPLES)
@option("--source", required=True, metavar="DATA", group="Input", help="pictures, as train.py --data takes them")
@option("--labels", type=click.Choice(["auto", "none", "folders"]), default="auto", group="Input", help="classes")
@option("--max-images", type=click.IntRange(min=0), default=0, group="Input", help="use only this many; 0 uses all")
@option("--codec", "place", required=True, type=click.Path(), group="Input", help="folder of an AutoencoderKL")
@option("--dest", required=True, type=click.Path(), group="Output", help="ZIP to write")
@option("--mirror", is_flag=True, group="Output", help="encode mirror images, too, for train.py --mirror")
@option("--dtype", type=click.Choice(["float16", "float32"]), default="float16", group="Output", help="of the latents")
@option("--overwrite", is_flag=True, group="Output", help="replace an existing ZIP, but never the source")
@option("--batch", type=click.IntRange(min=1), default=8, group="Other", help="pictures encoded at once")
@option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", group="Other", help="where")
def encode_command(
    source: str, place: str, dest: str, mirror: bool, dtype: str, overwrite: bool, batch: int, device: str, **data: Any
) -> None:
    """Turn pictures of one size into latents, from which train.py learns latent diffusion.

    Of each picture the mean and the deviation of its latents are kept, so that training draws new ones every time.
    """
    check_dest(Path(source), Path(dest), overwrite)
    if Path(dest).suffix.lower() != ".zip":
        raise ValueError(f"--dest {dest}: latents are written to a ZIP: give a name in .zip")
    dataset = open_dataset(DataConfig(path=source, **data))
    if dataset.latent is not None:
        raise ValueError(f"--source {source} holds latents already: give pictures")
    codec = codecs.open_codec(place, resolve_device(device))
    latent, indices = codec.latent(dataset), range(dataset.count)
    chunks = [indices[start : start + batch] for start in indices[::batch]]
    with terminable(), ArchiveWriter(dest, SUFFIX) as writer:
        writer.about = {"class_names": list(dataset.class_names), "latent": latent.model_dump()}
        for chunk in progress(chunks, len(chunks), "latents"):
            pixels = torch.stack([torch.from_numpy(dataset.read(i)) for i in chunk])
            ways = [pixels, pixels.flip(-1)] if mirror else [pixels]
            moments = torch.stack([codec.encode(way) for way in ways], 1).cpu().numpy().astype(dtype)
            for i, each in zip(chunk, moments, strict=True):
                if not np.isfinite(each).all():
                    raise ValueError(f"the latents of picture {i} are infinite in {dtype}: try --dtype float32")
                np.save(file := io.BytesIO(), each)
                writer.append(file.getvalue(), dataset.label(i) if dataset.classes else None)
    C, H, W = moments.shape[-3:]
    say(f"wrote latents of {counted(dataset.count, 'picture')} to {dest}: {C} channels of {spell(H, W)}")


@main.command("inspect", cls=Command, epilog=INSPECT_EXAMPLES)
@click.argument("source", type=click.Path())
@LABELS
@EVERY
@option("--sheet", type=click.Path(), group="Output", help="image of samples to write: .png, .webp or .jpg")
@WORKERS
def inspect_command(source: str, labels: str, every: int, sheet: str | None, workers: int) -> None:
    """Show what is in a data set or any source of images: sizes, modes, classes, duplicates, broken files."""
    if sheet is not None:
        if Path(sheet).suffix.lower() not in FORMATS:
            raise ValueError(f"--sheet {sheet} is not an image: its name must end in .png, .webp or .jpg")
        check_apart(Path(source), Path(sheet), "--sheet", source)
        check_folder(Path(sheet).parent, f"--sheet {sheet}")
    if open_latents(Path(source)) is not None:
        if sheet is not None or labels != "auto":
            raise ValueError(f"{source} holds latents: leave {'--labels' if sheet is None else '--sheet'} out")
        describe_latents(open_dataset(DataConfig(path=source)), source)
        return
    with terminable():
        found = inspect(source, labels, every, workers, progress)
    describe(found, source)
    if sheet is not None:
        save_image(found.sheet(), sheet)
        say(f"samples: {sheet}")


def describe_latents(dataset: ImageSet, source: str) -> None:
    """Read all latents, and print what they are."""
    broken = [fault for i in progress(range(dataset.count), dataset.count, "latents") if (fault := dataset.fault(i))]
    size = f"{dataset.channels} channels of {spell(dataset.height, dataset.width)}"
    say(f"{source} holds latents of {counted(dataset.count, 'picture')}: {size}")
    say("\n".join((*dataset.notes, dataset.labels_note)))
    _counts(dict(zip(dataset.class_names, dataset.label_counts.tolist(), strict=False)))
    say(f"broken: {len(broken) or 'none'}")
    _some(broken, len(broken))
    say(f"fingerprint: {dataset.fingerprint}")


def describe(found: Inspection, source: str) -> None:
    """Print what was found."""
    say(f"{source} is {found.kind} of {counted(found.count, 'image')}")
    for note in found.notes:
        say(note)
    say("sizes:")
    _counts({spell(*size): count for size, count in found.sizes.most_common()})
    say("modes:")
    _counts({NAMES[mode]: count for mode, count in found.modes.most_common()})
    if "RGBA" in found.modes:
        say(f"transparency is used by {counted(found.transparent, 'image')}")
    say(found.labels.note)
    _counts(dict(zip(found.labels.class_names, found.class_counts(), strict=False)))
    say(f"duplicates: {found.duplicates or 'none'}")
    _some([f"{name} = {first}" for name, first in found.twins], found.duplicates)
    say(f"broken: {len(found.broken) or 'none'}")
    _some(list(found.broken.values()), len(found.broken))
    if len(found.sizes) == 1:
        hint(*next(iter(found.sizes)))
    say(f"fingerprint: {found.fingerprint}" if found.fingerprint else f"not a training set: {found.unfit}")


def _counts(counts: dict[str, int]) -> None:
    rows = [f"{count:>8}  {printable(name, LONGEST_NAME)}" for name, count in counts.items()]
    _some(rows, len(rows))


if __name__ == "__main__":
    main()
