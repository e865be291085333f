"""Any pictures -> an archive of one size and one mode, which training can read."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from imaging.archive import Archive, ArchiveWriter, open_archive
from imaging.dataset import choose
from imaging.labels import take_labels
from imaging.picture import SOURCE_SUFFIXES, Header, decode, read_header
from imaging.sizes import base_size, nearest_size, spell
from imaging.transforms import center_crop_resize, is_opaque, richest

Track = Callable[[Iterable[int], int, str], Iterable[int]]  # (indices, how many, label) -> the same, showing progress


@dataclass
class Report:
    """What a conversion did. `broken` maps the pictures left out to the reason; `enlarged` counts those scaled up."""

    height: int
    width: int
    mode: str
    labels_note: str
    written: int = 0
    enlarged: int = 0
    broken: dict[str, str] = field(default_factory=dict)


def convert(
    source: str | Path,
    dest: str | Path,
    size: tuple[int, int] | None = None,
    labels: Literal["auto", "none", "folders"] = "auto",
    max_images: int = 0,
    track: Track = lambda indices, total, label: indices,
) -> Report:
    """Write the pictures of a folder or ZIP to `dest`, cropped at the centre and resized to `size` (height, width).

    Without `size` the pictures must share a valid one already. Broken pictures are left out and reported. What stands
    at `dest` is replaced at the very end. ValueError or FileNotFoundError when there is nothing to write.
    """
    if size is not None:
        base_size(*size)  # before the pictures are looked at, which may take minutes
    archive = open_archive(source, SOURCE_SUFFIXES)
    taken = take_labels(archive, labels)
    chosen = choose(len(archive.names), max_images)
    headers, broken = _read_headers(archive, chosen.tolist(), track)
    if not headers:
        raise _nothing_left(archive, broken)
    height, width = _target_size(archive, headers, size)
    report = Report(height, width, _target_mode(archive, headers), taken.of(chosen).note, broken=broken)
    with ArchiveWriter(dest) as writer:
        for i in track(headers, len(headers), "writing"):
            image = _decode_or_note(archive, i, report)
            if image is None:
                continue
            report.enlarged += image.width < width or image.height < height
            writer.add(center_crop_resize(image, width, height), int(taken.values[i]) if taken.class_names else None)
            report.written += 1
        if not report.written:
            raise _nothing_left(archive, broken)
        if taken.class_names:
            writer.about["class_names"] = taken.class_names
    return report


def _nothing_left(archive: Archive, broken: dict[str, str]) -> ValueError:
    reason = next(iter(broken.values()))
    which = (
        f"none of the {len(broken)} images of {archive.path} can"
        if len(broken) > 1
        else f"the one image of {archive.path} cannot"
    )
    return ValueError(f"{which} be used ({reason}): give other images")


def _read_headers(archive: Archive, chosen: list[int], track: Track) -> tuple[dict[int, Header], dict[str, str]]:
    """Index -> header of the pictures that have one, and name -> reason of those that do not."""
    headers, broken = {}, {}
    for i in track(chosen, len(chosen), "checking"):
        name = archive.names[i]
        try:
            with archive.open(name) as file:
                headers[i] = read_header(file, name)
        except ValueError as error:
            broken[name] = str(error)
    return headers, broken


def _target_size(archive: Archive, headers: dict[int, Header], size: tuple[int, int] | None) -> tuple[int, int]:
    found = {(header.height, header.width): archive.names[i] for i, header in headers.items()}
    if size is None and len(found) > 1:
        examples = " and ".join(f"{spell(*each)} ({name})" for each, name in list(found.items())[:2])
        advice = spell(*nearest_size(*min(found)))
        raise ValueError(f"the images have different sizes, such as {examples}: give --resolution, such as {advice}")
    height, width = size or next(iter(found))
    base_size(height, width)
    return height, width


def _target_mode(archive: Archive, headers: dict[int, Header]) -> str:
    """The richest mode of all. Transparency counts only where some pixel uses it: many tools write it unasked."""
    modes = {header.mode for header in headers.values()}
    if "RGBA" in modes and not any(_is_transparent(archive, i) for i, h in headers.items() if h.mode == "RGBA"):
        modes = modes - {"RGBA"} | {"RGB"}
    return richest(modes)


def _is_transparent(archive: Archive, index: int) -> bool:
    try:
        return not is_opaque(_decode(archive, index, "RGBA"))
    except ValueError:
        return False  # reported when it is its turn to be written


def _decode_or_note(archive: Archive, index: int, report: Report) -> Image.Image | None:
    try:
        return _decode(archive, index, report.mode)
    except ValueError as error:
        report.broken[archive.names[index]] = str(error)
        return None


def _decode(archive: Archive, index: int, mode: str) -> Image.Image:
    name = archive.names[index]
    return decode(io.BytesIO(archive.read(name)), name, mode)
