"""Kinds of files by their names: images that are read, images that are not, and everything else."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import features

from system.text import printable

TRAINING_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WITH_AVIF = (".avif",) if features.check("avif") else ()
_WITH_JPEG2000 = (".jp2", ".j2k", ".j2c", ".jpx") if features.check("jpg_2000") else ()
SOURCE_SUFFIXES = (
    *(*TRAINING_SUFFIXES, ".jfif", ".jpe", ".jif", ".apng", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", *_WITH_AVIF, *_WITH_JPEG2000),
)
SOURCE_KINDS = (
    "PNG, JPEG, WebP, GIF, BMP, TIFF, PPM" + ", AVIF" * bool(_WITH_AVIF) + ", JPEG 2000" * bool(_WITH_JPEG2000)
)
OTHERS_NAMED = 4  # endings of other files that are listed


class Unread(NamedTuple):
    """A kind of images that is not read, and how to make PNGs of them."""

    name: str
    advice: str


_CONVERT = "convert them to PNG first, for example with"
_HEIC = Unread("HEIC", f"{_CONVERT} heif-convert (package libheif-examples), or let the phone export JPEGs")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_RAW = Unread("raw camera", f"{_CONVERT} darktable-cli, or use the camera's JPEGs")
_RAW_ENDINGS = (
    "3fr 3gpr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
)
_ENDINGS = {
    "heic heif hif": _HEIC,
    "avif avifs": Unread("AVIF", f"{_CONVERT} avifdec"),
    "jp2 j2k j2c jpx jpf jpm": Unread("JPEG 2000", f"{_CONVERT} opj_decompress"),
    "jxl": Unread("JPEG XL", f"{_CONVERT} djxl (package libjxl-tools)"),
    "svg svgz": Unread("SVG", f"{_CONVERT} `rsvg-convert -h 512`, which draws them"),
    _RAW_ENDINGS: _RAW,
    "psd psb xcf kra": Unread("layered", f"{_CONVERT} ImageMagick, `magick FILE[0] OUT.png`"),
    "pdf ai": Unread("PDF", f"{_CONVERT} `pdftoppm -png`"),
    "eps ps": Unread("PostScript", f"{_CONVERT} `gs -sDEVICE=png16m`"),
    "dcm dicom": Unread("DICOM", f"{_CONVERT} dcm2pnm (package dcmtk)"),
    "tga ico cur icns exr hdr dds jxr wdp qoi pcx sgi ras xbm xpm fits fit wmf emf": Unread(
        "other image", f"{_CONVERT} ImageMagick, `mogrify -format png`"
    ),
}
UNREAD = {f".{end}": kind for ends, kind in _ENDINGS.items() for end in ends.split()}


def ending(name: str) -> str:
    """The ending of a file's name in lower case, with its dot; "" if there is none."""
    return PurePosixPath(name).suffix.lower()


def passed_over(names: Iterable[str], taken: tuple[str, ...]) -> list[str]:
    """Sentences about skipped files, one for each kind.

    Args:
        names: the skipped files, without hidden ones.
        taken: endings of the files that are read.
    """
    readable, unread, others = [], dict[Unread, list[str]](), Counter[str]()
    for name in names:
        end = ending(name)
        if end in SOURCE_SUFFIXES and end not in taken:
            readable.append(name)
        elif end in UNREAD and end not in taken:
            unread.setdefault(UNREAD[end], []).append(name)
        else:
            others[end] += 1
    told = [f"{_skipped(found, f'{kind.name} file')}: {kind.advice}" for kind, found in unread.items()]
    if readable:
        kinds = ", ".join(sorted({ending(name).lstrip(".").upper() for name in readable}))
        told.append(f"{_skipped(readable, 'image')} ({kinds}): make a set of them with dataset_tool.py")
    if others:
        ends = [f"{n} {printable(end, 12) or 'without an ending'}" for end, n in others.most_common(OTHERS_NAMED)]
        listed = ", ".join(ends) + (", ..." if len(others) > OTHERS_NAMED else "")
        told.append(f"skipped {_counted(sum(others.values()), 'other file')} ({listed})")
    return told


def _skipped(names: list[str], what: str) -> str:
    example = names[0] if len(names) == 1 else f"such as {names[0]}"
    return f"skipped {_counted(len(names), what)} ({printable(example, 100)})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def by_content(start: bytes) -> str:
    """What a file called an image is if it begins so, and what helps; "" if unknown."""
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        known = UNREAD[".avif"] if brand in (b"avif", b"avis") else _HEIC if brand in _HEIC_BRANDS else None
        return f"it is a {known.name} file: {known.advice}" if known else "it is a video"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return f"it is a JPEG XL file: {UNREAD['.jxl'].advice}"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page: download the image again"
    if text.startswith((b"<svg", b"<?xml")):
        return f"it is an SVG file: {UNREAD['.svg'].advice}"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the file with `git lfs pull`"
    return "" if start else "it is empty"
