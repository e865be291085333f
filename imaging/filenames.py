"""Names of image files in folders, ZIPs and tars: how they are spelled, which are read, and which are skipped."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

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


def plain(raw: str) -> str:
    """The name that labels, classes and messages use.

    Backslashes become slashes; drive letters, leading slashes, `.` and `..` are dropped; accented letters get the
    composed Unicode form (NFC); unprintable letters become `%1B`, so that different names stay different.
    """
    parts: list[str] = []
    for part in re.sub(r"^[A-Za-z]:(?=/)", "", raw.replace("\\", "/")).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    name = unicodedata.normalize("NFC", "/".join(parts))
    return name if name.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in name)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"%{code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code:02X}"  # Python keeps bytes of no UTF-8 there


def in_utf8(name: str) -> str:
    """A name from a ZIP without the UTF-8 flag, which many programs omit: decoded as UTF-8 if possible."""
    try:
        return name if name.isascii() else name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def by_any_case(name: str) -> str:
    """The name with its ending in lower case: `a.PNG` and `a.png` are treated as equal."""
    stem, dot, end = name.rpartition(".")
    return f"{stem}{dot}{end.lower()}"


def is_hidden(name: str) -> bool:
    """Whether a file is hidden: `.DS_Store`, `__MACOSX/._a.png` and the like."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def some(names: Iterable[object]) -> str:
    """The first of some names, and how many more there are."""
    first, *others = names
    return printable(str(first)) + (f" and {len(others)} more" if others else "")


def ending(name: str) -> str:
    """The ending of a file's name in lower case, with its dot; "" if there is none."""
    return PurePosixPath(name).suffix.lower()


def conversion_of(end: str) -> str:
    """How to read files with this ending of `UNREAD`, as the end of a sentence."""
    return f"convert them to PNG first, for example with {UNREAD[end]}"


def passed_over(names: Iterable[str], taken: tuple[str, ...]) -> list[str]:
    """Sentences about skipped files (not hidden ones), one for each way to read them; files of `taken` are read."""
    skipped, others = dict[str, list[str]](), Counter[str]()
    for name in names:
        end = ending(name)
        if end in SOURCE_SUFFIXES and end not in taken:
            skipped.setdefault("make a set of them with dataset_tool.py", []).append(name)
        elif end in UNREAD and end not in taken:
            skipped.setdefault(conversion_of(end), []).append(name)
        else:
            others[printable(end, 12) or "without an ending"] += 1
    told = []
    for advice, found in skipped.items():
        ends = ", ".join(sorted({ending(name).lstrip(".").upper() for name in found}))
        told.append(f"skipped {len(found)} {ends} file{'s' * (len(found) > 1)} ({printable(found[0], 100)}): {advice}")
    if others:
        ends = ", ".join(f"{count} {end}" for end, count in others.most_common(OTHERS_NAMED))
        more = ", ..." if len(others) > OTHERS_NAMED else ""
        told.append(f"skipped {others.total()} other file{'s' * (others.total() > 1)} ({ends}{more})")
    return told


def walk(top: Path, passed: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every regular file below `top`: its path from there with slashes, and its state.

    Links to folders are followed after all other folders. No folder is entered twice, so that no image comes twice and
    loops of links end. Folders of training runs, and links to a folder above themselves, are skipped. `passed` gets a
    sentence for each kind of thing that was skipped. OSError if a folder cannot be read.
    """
    seen, runs, links, odd = set[object](), list[Path](), list[Path](), list[Path]()
    waiting = [top]
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        state = folder.stat()
        identity = (state.st_dev, state.st_ino) if state.st_ino else folder.resolve()  # some disks give no number
        if identity in seen:
            continue
        seen.add(identity)
        below = []
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            path = folder / entry.name
            if _is(entry.is_file):
                yield path.relative_to(top).as_posix(), entry.stat()
            elif not _is(entry.is_dir):
                odd.append(path)  # a pipe, a device, a link to nowhere
            elif is_run(path):
                runs.append(path)
            elif not entry.is_symlink():
                below.append(path)
            elif not folder.resolve().is_relative_to(path.resolve()):
                links.append(path)
        waiting += reversed(below)
    for found, what in ((runs, "folders of training runs"), (odd, "pipes, devices and broken links")):
        if found:
            passed.append(f"skipped {what}: {some(plain(str(path.relative_to(top))) for path in found)}")


def is_run(folder: Path) -> bool:
    """Whether a training run made the folder: its PNGs are sheets of samples, not images to learn from."""
    return (folder / "config.json").is_file() and any((folder / n).is_file() for n in ("log.txt", "stats.jsonl"))


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that leads to itself
        return False
