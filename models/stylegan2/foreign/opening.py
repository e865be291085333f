"""Files of other programs: which program a file is of, told by its contents, and its networks in our names."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.stylegan2.foreign import official, torchfiles
from models.stylegan2.foreign.converted import Converted
from system import pickles
from system.text import printable
from torch_utils import torchfile

_HEAD = 512  # bytes, in which every format can be told


class Format(NamedTuple):
    """A kind of file."""

    begins: Callable[[bytes], bool]  # whether a file that begins with these bytes is of this kind
    read: Callable[[Path], Converted]  # raises ValueError with the reason alone, which goes well after "it is refused:"


FORMATS = (  # asked in this order
    Format(pickles.is_pickle, official.read),
    Format(torchfile.begins_so, torchfiles.read),
)


def is_foreign(path: Path) -> bool:
    """Whether a file is of another program that is read here. False for what is no file."""
    return _format(path) is not None


def open_foreign(path: Path) -> Converted:
    """Reads a file of another program, running none of the code in it.

    Raises:
        ValueError: when it is refused, naming what was refused; when it is damaged; or holds no StyleGAN2.
    """
    found = _format(path)
    if found is None:
        raise ValueError(f"{path} is of no program that is read here: give a file of a network")
    try:
        return found.read(path)
    except ValueError as error:
        raise ValueError(f"{path} is refused: {printable(str(error))}") from error


def _format(path: Path) -> Format | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return next((format for format in FORMATS if format.begins(head)), None)
