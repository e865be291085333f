"""Kinds of files by their names: images that are read, images that are not, and everything else."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

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
# Endings of other image files, by the program that converts them to PNG.
_CONVERTERS = {
    "heif-convert (package libheif-examples)": "heic heif hif avif avifs",
    "darktable-cli": "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 sr2 srf srw x3f",
    "rsvg-convert": "svg svgz",
    "djxl (package libjxl-tools)": "jxl",
    "ImageMagick": "psd psb xcf pdf ai eps ps dcm tga ico exr hdr dds qoi pcx fits jp2 j2k j2c jpx jpf",
}
UNREAD = {f".{end}": program for program, ends in _CONVERTERS.items() for end in ends.split()}
OTHERS_NAMED = 4  # endings of other files that are listed


def ending(name: str) -> str:
    """The ending of a file's name in lower case, with its dot; "" if there is none."""
    return PurePosixPath(name).suffix.lower()


def passed_over(names: Iterable[str], taken: tuple[str, ...]) -> list[str]:
    """Sentences about skipped files, one for each way to read them.

    Args:
        names: the skipped files, without hidden ones.
        taken: endings of the files that are read.
    """
    skipped, others = dict[str, list[str]](), Counter[str]()
    for name in names:
        end = ending(name)
        if end in SOURCE_SUFFIXES and end not in taken:
            skipped.setdefault("make a set of them with dataset_tool.py", []).append(name)
        elif end in UNREAD and end not in taken:
            skipped.setdefault(conversion_of(end), []).append(name)
        else:
            others[end] += 1
    told = []
    for advice, found in skipped.items():
        ends = ", ".join(sorted({ending(name).lstrip(".").upper() for name in found}))
        told.append(f"skipped {len(found)} {ends} file{'s' * (len(found) > 1)} ({printable(found[0], 100)}): {advice}")
    if others:
        ends = ", ".join(
            f"{n} {printable(end, 12) or 'without an ending'}" for end, n in others.most_common(OTHERS_NAMED)
        )
        count = sum(others.values())
        more = ", ..." if len(others) > OTHERS_NAMED else ""
        told.append(f"skipped {count} other file{'s' * (count > 1)} ({ends}{more})")
    return told


def conversion_of(end: str) -> str:
    """How to read files with this ending of `UNREAD`, as the end of a sentence."""
    return f"convert them to PNG first, for example with {UNREAD[end]}"
