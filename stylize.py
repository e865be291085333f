"""Put pictures into the style of other pictures."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image

from imaging.film import check_film, write_film
from imaging.grid import check_sheet, save_image, sheet
from imaging.opening import open_file
from imaging.picture import is_animated
from imaging.sources.video import frame_rate
from models.adain import network as nets
from models.adain.choices import COLOR
from models.adain.encoderfiles import BUNDLED
from models.adain.family import FAMILY
from models.families import read_network
from sampling import originals as pictures
from sampling.adain import wishes
from sampling.command import DEVICE, PATH, RUNS, options, record_files, refuse
from system.files import check_folder, real_path
from torch_utils import checkpoint
from torch_utils.cli import Command, counted, progress, say
from torch_utils.device import is_out_of_memory, resolve_device, switches
from torch_utils.runs import newest_network

EXAMPLES = """
Examples:
  python stylize.py --content photo.jpg --style painting.jpg
  python stylize.py --content photos/ --style paintings/ --outdir out      every pair, and a sheet
  python stylize.py --content photo.jpg --style a.jpg,b.jpg --style-weights 0.7,0.3 --alpha 0.8
  python stylize.py --content photo.jpg --style a.jpg --preserve-color
  python stylize.py --content photo.jpg --style a.jpg,b.jpg --mask regions.png --feather 8
  python stylize.py --content clip.mp4 --style a.jpg --film out.mp4 --smooth 0.8
  python stylize.py --network adain.safetensors --content photo.jpg --style a.jpg
"""
SHEET = "stylized.png"
THUMBNAIL = 192  # pixels of a sheet's tiles
NETWORK = "a network of --model adain; without it the newest one in runs, else the bundled one"


class Side(click.IntRange):
    """The side of tiles, or auto: None."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; None for auto."""
        return None if value == "auto" else super().convert(value, param, ctx)


@click.command(cls=Command, epilog=EXAMPLES)
@options("Network", ("--network", click.Path(), None, NETWORK, {"metavar": "PLACE"}))
@options(
    "Pictures",
    ("--content", "PATHS", None, "a picture, several with commas, or a folder; or a video", {"required": True}),
    ("--style", "PATHS", None, "the same; without weights and mask every pair is made", {"required": True}),
    ("--style-weights weights", "NUMBERS", None, "mix the styles in these shares, such as 0.7,0.3"),
    ("--alpha", click.FloatRange(0, 1), 1.0, "strength of the style; 0 leaves the content"),
    (
        "--preserve-color color",
        click.Choice(["no", "luminance", "match"]),
        "no",
        COLOR,
        {"is_flag": False, "flag_value": "luminance"},
    ),
    ("--mask", PATH, None, "a picture of regions, one style for each gray level from dark to light"),
    ("--feather", click.FloatRange(0, 1000), 0.0, "with --mask: pixels over which regions blend"),
    ("--region-alphas strengths", "NUMBERS", None, "with --mask: strength of each region, such as 1,0.5"),
    ("--tile", Side(64, 8192), "auto", "side of tiles in pixels, which save memory; auto: for large pictures only"),
    ("--smooth", click.FloatRange(0, 0.99), 0.0, "of a video: share of the last frame's statistics; less flicker"),
)
@options(
    "Output",
    ("--outdir", PATH, Path("out"), "folder to write to"),
    ("--format ending", click.Choice(["png", "webp", "jpg"]), "png", "file format"),
    ("--film", PATH, None, "the film to write if --content is a video: FILE.mp4 keeps the sound; .gif, .webp"),
)
@DEVICE
def main(
    network: str | None,
    content: str,
    style: str,
    outdir: Path,
    ending: str,
    film: Path | None,
    smooth: float,
    device: str,
    **how: Any,
) -> None:
    """Put every content into the style of every other picture, in one pass, at the content's own size."""
    video = Path(content) if pictures.is_video(content, film is not None) else None
    if film is not None and video is None:
        raise ValueError(f"--film applies to a video, and --content {content} is none: leave it out")
    if video is not None and film is None:
        raise ValueError(f"--content {content} is a video: give --film with the name of the new one, such as film.mp4")
    if film is not None:
        refuse(["outdir", "ending"], "with --film")
        check_film(film, "--film")
        check_folder(film.parent, f"--film {film}")
    else:
        refuse(["smooth"], "to pictures, only to a video")
        check_folder(outdir, f"--outdir {outdir}")
    contents, styles = [] if video else pictures.listed(content, "--content"), pictures.listed(style, "--style")
    wish = _wish(how, len(styles))
    groups = [styles] if wish.weights is not None or wish.mask is not None else [[path] for path in styles]
    targets = [film] if film else _targets(contents, groups, outdir, ending)
    sources = [*contents, *styles, *(Path(each) for each in (video, wish.mask, network) if each is not None)]
    _check_targets(targets, sources)
    where = resolve_device(device)
    net, place = _open(network)
    facts: dict[str, Any] = {"network": place, "contents": len(contents), "styles": len(styles)}
    with switches("fp32", trial=False), torch.no_grad(), _enough_memory(where):
        net = net.to(where)
        if video is not None and film is not None:
            facts["frames"] = _make_film(net, video, film, groups, wish, smooth)
        else:
            _check_pictures(contents, styles, wish)
            check_sheet(len(targets), (THUMBNAIL, THUMBNAIL), "--content and --style")
            rows = _make_all(net, contents, groups, wish, iter(targets))
            if len(targets) > 1:
                names = [path.stem for path in contents], [pictures.names_of(group) for group in groups]
                save_image(sheet(rows, *names), outdir / SHEET)
    record = outdir / "stylize.json" if film is None else film.with_name(f"{film.name}.json")
    record_files("stylize", record, facts, {"device": where.type})
    made = f"{counted(len(targets), 'picture')} to {outdir}" if film is None else f"{film}, {facts['frames']} frames"
    say(f"wrote {made}, and {record.name}")


def _wish(how: dict[str, Any], styles: int) -> wishes.Wish:
    """The controls, checked."""
    weights, strengths = how.pop("weights"), how.pop("strengths")
    if how["mask"] is not None and weights is not None:
        raise ValueError("--mask gives each style a region and --style-weights mixes them everywhere: give one of them")
    if how["mask"] is None and (how["feather"] or strengths is not None):
        raise ValueError("--feather and --region-alphas apply to --mask alone: leave them out, or give --mask")
    if weights is not None:
        weights = pictures.parse_shares(weights, styles, "--style-weights", "styles")
        if not sum(weights):
            raise ValueError("--style-weights are all 0: give at least one that is more")
        weights = [weight / sum(weights) for weight in weights]
    if strengths is not None:
        strengths = pictures.parse_shares(strengths, styles, "--region-alphas", "styles", most=1)
    return wishes.Wish(weights=weights, strengths=strengths, **how)


def _targets(contents: list[Path], groups: list[list[Path]], outdir: Path, ending: str) -> list[Path]:
    """The files to write: of each content in each group of styles."""
    return [outdir / f"{path.stem}-{pictures.names_of(group)}.{ending}" for path in contents for group in groups]


def _check_targets(targets: list[Path], sources: list[Path]) -> None:
    """Raise ValueError if two results have one name, or a result is one of the files that are read."""
    seen: set[Path] = set()
    kept = {real_path(path) for path in sources}
    for path in [*targets, *([targets[0].with_name(SHEET)] if len(targets) > 1 else [])]:
        if path in seen:
            raise ValueError(f"two results would be {path}: give the pictures different names, without the endings")
        if real_path(path) in kept:
            raise ValueError(f"{path} would be written over a file that is read: choose another name or --outdir")
        seen.add(path)


def _check_pictures(contents: list[Path], styles: list[Path], wish: wishes.Wish) -> None:
    """Read everything once, so that a job does not end halfway. Raises ValueError."""
    for path in styles:
        pictures.read(path, "--style")
    for path in contents:
        wish.masks(pictures.read(path, "--content").size, len(styles))
        with open_file(path) as file:
            if is_animated(file, f"--content {path}"):
                say(f"note: {path} has several frames, and the first one is taken: give --film for a film of a GIF")


def _open(place: str | None) -> tuple[nets.AdaIN, str]:
    """The network that --network names, or without it the newest or the bundled one; and its place in words."""
    newest = None if place else newest_network(RUNS, lambda path: checkpoint.header(path).get("family") == FAMILY.name)
    if place is None and newest is None and not BUNDLED.is_file():
        raise FileNotFoundError(
            f"no --network was given, {RUNS} has none of --model adain, and none is bundled: give a network"
        )
    file = read_network(place or newest or BUNDLED)
    file.require(FAMILY, "--network")
    network = file.part("adain")
    assert isinstance(network, nets.AdaIN)
    say(f"network {file}{'' if place else ', the newest one' if newest else ', the bundled one'}")
    return network, str(file)


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"the memory of this {device.type} device ran out: take tiles, such as --tile 512") from error


def _make_all(
    net: nets.AdaIN, contents: list[Path], groups: list[list[Path]], wish: wishes.Wish, targets: Iterator[Path]
) -> list[list[Image.Image]]:
    """Make and write all pictures; thumbnails by content and group of styles."""
    styles = wishes.Styles(net, wish)
    rows: list[list[Image.Image]] = [[] for _ in contents]
    jobs = [(i, path, group) for i, path in enumerate(contents) for group in groups]
    last: pictures.Picture | None = None
    for i, path, group in progress(jobs, len(jobs), "pictures"):
        if last is None or not rows[i]:
            last = pictures.read(path, "--content")
        made = pictures.to_image(
            wishes.make(net, last, [styles.measured(each, last) for each in group], wish), last.opacity
        )
        save_image(made, next(targets))
        rows[i].append(_thumbnail(made))
    return rows


def _make_film(
    net: nets.AdaIN, video: Path, film: Path, groups: list[list[Path]], wish: wishes.Wish, smooth: float
) -> int:
    """Write a film of all frames of a video, and return their number. The styles are measured once."""
    if len(groups) > 1:
        raise ValueError(f"--style names {len(groups)} pictures: give --style-weights to mix them in a film, or one")
    count, frames = pictures.frames_of(video)
    styles, follow = wishes.Styles(net, wish), wishes.Smoothing(smooth)

    def made() -> Iterator[Image.Image]:
        for frame in frames:
            yield pictures.to_image(
                wishes.make(net, frame, [styles.measured(each, frame) for each in groups[0]], wish, follow), None
            )

    write_film(film, progress(made(), count, "frames"), frame_rate(video), sound=video)
    return count


def _thumbnail(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (THUMBNAIL, THUMBNAIL), (255, 255, 255))
    square.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    return square


if __name__ == "__main__":
    main()
