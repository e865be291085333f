"""Put pictures into the style of other pictures."""

import system.start  # noqa: F401 (first)

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from PIL import Image
from torch import Tensor

from imaging.film import check_film, write_film
from imaging.grid import check_sheet, save_image, sheet
from imaging.sources.video import frame_rate
from models.adain.color import match_colors, with_colors_of
from models.adain.family import FAMILY
from models.adain.network import AdaIN, Region
from models.adain.tiles import stylize_tiles
from models.conditioning import Statistics
from models.families import read_network
from sampling.adain.pictures import (
    Picture,
    frames_of,
    is_video,
    listed,
    names_of,
    parse_shares,
    read,
    read_regions,
    to_image,
)
from sampling.command import DEVICE, PATH, options, record_files
from system.files import check_folder
from torch_utils.cli import Command, counted, progress, say
from torch_utils.device import resolve_device, switches

EXAMPLES = """
Examples:
  python stylize.py --network adain.safetensors --content photo.jpg --style painting.jpg
  python stylize.py --network adain.safetensors --content photos/ --style paintings/      every pair, and a sheet
  python stylize.py --network adain.safetensors --content photo.jpg --style a.jpg,b.jpg --style-weights 0.7,0.3
  python stylize.py --network adain.safetensors --content photo.jpg --style a.jpg --preserve-color match --alpha 0.8
  python stylize.py --network adain.safetensors --content photo.jpg --style a.jpg,b.jpg --mask regions.png --feather 8
  python stylize.py --network adain.safetensors --content clip.mp4 --style a.jpg --film out.mp4 --smooth 0.8
"""
BUNDLED = Path(__file__).parent / "assets" / "style.safetensors"
WHOLE = 2**22  # pixels up to which --tile auto makes a picture at once
TILE = 1024  # side of the tiles of --tile auto
SHEET = "stylized.png"
THUMBNAIL = 192  # pixels of a sheet's tiles


class Wish(NamedTuple):
    """How pictures are made."""

    alpha: float
    color: str
    tile: int | None  # side of tiles; None: by the size of the picture
    mask: Path | None
    feather: float
    strengths: str
    weights: list[float] | None


@click.command(cls=Command, epilog=EXAMPLES)
@options(
    "Network",
    ("--network", click.Path(), None, "a network of --model adain; without it the bundled one", {"metavar": "PLACE"}),
)
@options(
    "Pictures",
    ("--content", "PATHS", None, "a picture, several with commas, or a folder", {"required": True}),
    ("--style", "PATHS", None, "the same; without weights and mask every pair is made", {"required": True}),
    ("--style-weights weights", "NUMBERS", None, "mix the styles in these shares, such as 0.7,0.3"),
    ("--alpha", click.FloatRange(0, 1), 1.0, "strength of the style; 0 leaves the content"),
    (
        "--preserve-color color",
        click.Choice(["no", "luminance", "match"]),
        "no",
        "luminance: hues of the content; match: bring the style's colors to the content's mean and covariance first",
    ),
    ("--mask", PATH, None, "a picture of regions, one style for each gray level from dark to light"),
    ("--feather", click.FloatRange(0, 1000), 0.0, "with --mask: pixels over which regions blend"),
    ("--region-alphas strengths", "NUMBERS", None, "with --mask: strength of each region, such as 1,0.5"),
    ("--tile", click.IntRange(64, 8192), None, "side of tiles in pixels; without it by the size of the picture"),
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
    weights: str | None,
    mask: Path | None,
    outdir: Path,
    ending: str,
    film: Path | None,
    device: str,
    **how: Any,
) -> None:
    """Put every content into the style of every other picture, in one pass, at the content's own size."""
    video = Path(content) if is_video(content) else None
    check_folder(outdir, f"--outdir {outdir}")
    if film is not None and video is None:
        raise ValueError(f"--film applies to a video, and --content {content} is none: leave it out")
    if video is not None and film is None:
        raise ValueError(f"--content {content} is a video: give --film with the name of the new one, such as film.mp4")
    contents, paths = [] if video else listed(content, "--content"), listed(style, "--style")
    shares = None if weights is None else _normalized(parse_shares(weights, len(paths), "--style-weights", "styles"))
    strengths = how.pop("strengths") or ",".join(["1"] * len(paths))
    wish = Wish(how["alpha"], how["color"], how["tile"], mask, how["feather"], strengths, shares)
    _check(wish, len(paths))
    where = resolve_device(device)
    net = _open(network)
    say(f"network {network or BUNDLED.name}")
    if video is not None and film is not None:
        if mask is None and wish.weights is None and len(paths) > 1:
            raise ValueError(f"--style names {len(paths)} pictures: give --style-weights to mix them in a film, or one")
        check_film(film, "--film")
        with switches("fp32", trial=False), torch.no_grad():
            count, frames = frames_of(video)
            shown = progress(_frames(net.to(where), frames, paths, wish, how["smooth"]), count, "frames")
            write_film(film, shown, frame_rate(video), sound=video)
        facts = {"network": str(network or BUNDLED.name), "content": str(video), "frames": count}
        record_files("stylize", film.with_name(f"{film.name}.json"), facts, {"device": where.type})
        say(f"wrote {film} ({counted(count, 'frame')})")
        return
    together = wish.weights is not None or mask is not None
    groups = [paths] if together else [[path] for path in paths]
    check_sheet(len(contents) * len(groups), (THUMBNAIL, THUMBNAIL), "--content and --style")
    with switches("fp32", trial=False), torch.no_grad():
        rows = _all(net.to(where), contents, groups, wish, outdir, ending)
    if len(contents) * len(groups) > 1:
        names = [path.stem for path in contents]
        save_image(sheet(rows, names, [names_of(group) for group in groups]), outdir / SHEET)
    number = counted(len(contents) * len(groups), "picture")
    facts = {"network": str(network or BUNDLED.name), "contents": len(contents), "styles": len(paths)}
    record_files("stylize", outdir / "stylize.json", facts, {"device": where.type})
    say(f"wrote {number} and stylize.json to {outdir}")


def _check(wish: Wish, styles: int) -> None:
    if wish.mask is not None and wish.weights is not None:
        raise ValueError("--mask gives each style a region and --style-weights mixes them everywhere: give one of them")
    if wish.mask is not None and wish.tile:
        raise ValueError("--tile does not apply to --mask: leave it out")
    if wish.mask is None and (wish.feather or wish.strengths != ",".join(["1"] * styles)):
        raise ValueError("--feather and --region-alphas apply to --mask alone: leave them out, or give --mask")


def _normalized(weights: list[float]) -> list[float]:
    if not sum(weights):
        raise ValueError("--style-weights are all 0: give at least one that is more")
    return [weight / sum(weights) for weight in weights]


def _open(place: str | None) -> AdaIN:
    if place is None and not BUNDLED.is_file():
        raise FileNotFoundError("no --network was given, and none is bundled: give a network of --model adain")
    file = read_network(place or BUNDLED)
    file.require(FAMILY, "--network")
    network = file.part("adain")
    assert isinstance(network, AdaIN)
    return network


def _all(
    net: AdaIN, contents: list[Path], groups: list[list[Path]], wish: Wish, outdir: Path, ending: str
) -> list[list[Image.Image]]:
    """Make and write all pictures; thumbnails by content and group of styles."""
    kept: dict[Path, Statistics] = {}  # of styles whose colors are their own
    rows: list[list[Image.Image]] = [[] for _ in contents]
    jobs = [(i, path, group) for i, path in enumerate(contents) for group in groups]
    last: Picture | None = None
    for i, path, group in progress(jobs, len(jobs), "pictures"):
        if last is None or not rows[i]:
            last = read(path, "--content")
        styles = [_measured(net, each, last, wish, kept) for each in group]
        made = to_image(_one(net, last, styles, wish), last.opacity)
        save_image(made, outdir / f"{path.stem}-{names_of(group)}.{ending}")
        rows[i].append(_thumbnail(made))
    return rows


def _frames(
    net: AdaIN, frames: Iterator[Picture], styles: list[Path], wish: Wish, smooth: float
) -> Iterator[Image.Image]:
    """The frames of a film. The styles are measured once; statistics of contents may follow slowly."""
    kept: dict[Path, Statistics] = {}
    own: Statistics | None = None

    def follow(now: Statistics) -> Statistics:
        nonlocal own
        own = Statistics(*(new.lerp(old, smooth) for new, old in zip(now, own or now, strict=True))) if smooth else now
        return own

    for frame in frames:
        measured = [_measured(net, path, frame, wish, kept) for path in styles]
        yield to_image(_one(net, frame, measured, wish, follow), None)


def _measured(net: AdaIN, path: Path, content: Picture, wish: Wish, kept: dict[Path, Statistics]) -> Statistics:
    device = next(net.parameters()).device
    if wish.color == "match":
        return net.measure(match_colors(read(path, "--style").colors[0], content.colors[0])[None].to(device))
    if path not in kept:
        kept[path] = net.measure(read(path, "--style").colors.to(device))
    return kept[path]


def _one(
    net: AdaIN,
    content: Picture,
    styles: list[Statistics],
    wish: Wish,
    follow: Callable[[Statistics], Statistics] = lambda own: own,
) -> Tensor:
    colors = content.colors.to(next(net.parameters()).device)
    weights = wish.weights or [1.0]
    if wish.mask is not None:
        masks = read_regions(wish.mask, content.size, len(styles), wish.feather)
        alphas = parse_shares(wish.strengths, len(styles), "--region-alphas", "styles")
        regions = [
            Region(mask.to(colors.device), k, wish.alpha * min(alpha, 1.0))
            for k, (mask, alpha) in enumerate(zip(masks, alphas, strict=True))
        ]
        made = net.decode(net.mix_regions(net.encode(colors), styles, regions), colors.shape)
    elif wish.tile or colors.shape[-2] * colors.shape[-1] > WHOLE:
        side = -(-(wish.tile or TILE) // net.config.factor) * net.config.factor
        made = torch.empty_like(colors)
        for part in stylize_tiles(net, colors, styles, weights, wish.alpha, side):
            made[..., part.rows, part.columns] = part.pixels
    else:
        features = net.encode(colors)
        own = follow(net.statistics(features))
        made = net.decode(net.mix(features, styles, weights, wish.alpha, own), colors.shape)
    return with_colors_of(made, colors) if wish.color == "luminance" else made


def _thumbnail(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (THUMBNAIL, THUMBNAIL), (255, 255, 255))
    square.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    return square


if __name__ == "__main__":
    main()
