"""Files of other programs: which program wrote one, and its networks under the names that our files use."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from system.text import printable, shown

_HEAD = 512  # bytes that tell a kind of file
_LISTED = 8  # names in a sentence


class Converted(NamedTuple):
    """What a network file of ours would hold.

    `metadata` has the configuration of every part under the part's `config_name`, and under `source` what is known of
    the file: at least `format`, in words such as `StyleGAN2-ADA pickle`, and `left_out` for parts that cannot be built
    (name -> reason). `tensors` are named `PART.tensor`.
    """

    family: str
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class Foreign(NamedTuple):
    """A reader of another program's files. Its functions raise ValueError with the reason alone, without the path."""

    title: str  # in sentences: "rosinality's stylegan2-pytorch"
    begins: Callable[[bytes], bool]  # whether a file with this beginning may be this program's
    read: Callable[[Path], Any]  # gives the contents and runs no code of the file; one function for a kind of file
    claims: Callable[[Any], bool]  # whether contents of such a file are this program's
    convert: Callable[[Any, Path], Converted]  # contents, path


def open_foreign(path: Path, readers: Iterable[Foreign]) -> Converted | None:
    """Read a file of another program and run none of the code in it; None if no reader opens this kind of file.

    Raises:
        ValueError: if the file is damaged, asks for code that is not allowed, or belongs to no known program.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    fitting = [reader for reader in readers if reader.begins(head)]
    if not fitting:
        return None
    try:
        contents = fitting[0].read(path)
        for reader in fitting:
            if reader.claims(contents):
                return reader.convert(contents, path)
        names = list(map(shown, contents))[:_LISTED] if isinstance(contents, Mapping) else [shown(contents)]
        titles = " or ".join(reader.title for reader in fitting)
        raise ValueError(f"it holds {', '.join(names) or 'nothing'}, expected a file of {titles}")
    except ValueError as error:
        raise ValueError(f"{path} is refused: {printable(str(error))}") from error
