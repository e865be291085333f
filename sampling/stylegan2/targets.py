"""What is projected and how it is compared: pictures of any kind, converted for a network, and the loss of --loss."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from imaging.filenames import SOURCE_KINDS, SOURCE_SUFFIXES, UNREAD, conversion_of, ending
from imaging.opening import LARGEST_FILE, open_file
from imaging.picture import decode, read_header, read_range, span_of
from imaging.pixels import MODES, from_pil
from imaging.sizes import spell
from imaging.sources.archives import ArchiveSource
from imaging.transforms import NAMES, center_crop_resize, is_opaque, on_white, to_mode
from models.perceptual.detectors import check_trust, find_networks, has_lpips, open_network, parse_files
from models.perceptual.embeddings import LEAST, Embed, lpips_size, perceptual_likeness, pyramid_vectors
from models.stylegan2.config import GeneratorConfig


class Target(NamedTuple):
    """A picture to be projected: its name, its pixels uint8 [C, H, W], and how it was changed, in words."""

    name: str
    pixels: Tensor
    changes: tuple[str, ...]


def read_targets(
    places: Sequence[str], config: GeneratorConfig, tell: Callable[[str], None] = lambda text: None
) -> list[Target]:
    """The pictures of files, folders and ZIPs (by name), or several with commas, in a network's size and channels.

    `tell` is called with sentences about files that are skipped. Raises FileNotFoundError or ValueError.
    """
    paths: list[Path] = []
    for place in places:
        parts = [place] if Path(place).exists() else [part.strip() for part in place.split(",")]
        paths += [Path(part) for part in parts if part]
    if not paths:
        raise ValueError("--target names no picture: give a file, a folder or a ZIP")
    return [_fit(content, name, config) for path in paths for name, content in _contents(path, tell)]


def _contents(path: Path, tell: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    kind = ending(path.name)
    if not path.exists():
        raise FileNotFoundError(f"--target {path}: there is no such picture or folder; check the path")
    if path.is_dir() or kind == ".zip":
        source = ArchiveSource(path)
        for note in source.notes:
            tell(f"--target {path}: {note}")
        yield from ((str(path / name), source.read(i)) for i, name in enumerate(source.names))
    elif kind in SOURCE_SUFFIXES:
        with open_file(path) as file:
            yield str(path), file.read(LARGEST_FILE)
    elif kind in UNREAD:
        raise ValueError(f"--target {path} is a picture of a kind that is not read: {conversion_of(kind)}")
    else:
        raise ValueError(f"--target {path} is no picture: give one ({SOURCE_KINDS}), or a folder or ZIP of them")


def _fit(content: bytes, name: str, config: GeneratorConfig) -> Target:
    """The center of the picture, in the network's size and channels."""
    header = read_header(io.BytesIO(content), name)
    wanted, changes = MODES[config.channels], []
    span = span_of([read_range(io.BytesIO(content), name)]) if header.deep else None
    if span and (looked := span.note(many=False)):
        changes.append(looked)
    image = decode(io.BytesIO(content), name, header.mode, (config.height, config.width), span)
    if image.mode == "RGBA" and wanted != "RGBA":
        if not is_opaque(image):
            changes.append("laid on white where it is transparent")
        image = on_white(image)
    if image.mode != wanted:
        changes.append(f"{NAMES[image.mode]} made {NAMES[wanted]}")
    size = (config.width, config.height)
    if image.size != size:
        width, height = header.width, header.height  # a large JPEG is decoded at a smaller size
        done = "its middle cut out and " if width * size[1] != height * size[0] else ""
        way = "enlarged" if width < size[0] or height < size[1] else "reduced"
        changes.append(f"{done}{way} from {spell(height, width)} to {spell(*reversed(size))}")
    image = center_crop_resize(to_mode(image, wanted), *size)
    return Target(name, torch.from_numpy(from_pil(image)), tuple(changes))


def open_loss(
    loss: str, detectors: Sequence[str], size: tuple[int, int], device: torch.device, trust: bool = False
) -> tuple[str, Embed]:
    """The name of the loss, `lpips` or `pixels`, and a function images -> vectors whose squared distance is the loss.

    `auto` is LPIPS if a detector (NAME=PATH) is given, else pixels. FileNotFoundError, or ValueError if a detector
    does not apply or is a program without `trust`, or if images of size (height, width) are too small for it.
    """
    given = parse_files(detectors)
    check_trust(trust, given)
    if other := next((name for name in given if name not in ("vgg16", "lpips")), None):
        raise ValueError(f"--detector {other}: projection looks with vgg16 and lpips alone; leave it out")
    if loss == "pixels" and given:
        raise ValueError("--detector does not apply, since --loss is pixels: leave it out")
    if loss == "pixels" or not (loss == "lpips" or given):
        return "pixels", pyramid_vectors
    if min(lpips_size(*size)) < LEAST:
        least = spell(LEAST, LEAST)
        raise ValueError(
            f"LPIPS needs images of at least {least} pixels, and this network's are {spell(*size)}: take --loss pixels"
        )
    wanted = ["vgg16"] if has_lpips(given) else ["vgg16", "lpips"]
    if len(wanted) == 1 and "lpips" in given:
        raise ValueError("--detector lpips does not apply, since the file of vgg16 has LPIPS within it: leave it out")
    files = find_networks(wanted, given, "or take --loss pixels", trust)
    return "lpips", perceptual_likeness(open_network("lpips", [files[name] for name in wanted], device))
