"""Files of other programs: which program wrote one, and its networks under the names that our files use."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from system.text import printable, shown
from torch_utils import torchfile

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


@dataclass(frozen=True)
class Container:
    """A kind of file that several programs write."""

    begins: Callable[[bytes], bool]  # whether a file with this beginning is of this kind
    read: Callable[[Path], Any]  # gives the contents and runs no code of the file


TORCH_SAVE = Container(torchfile.begins_so, torchfile.read)


@dataclass(frozen=True)
class Foreign:
    """A reader of another program's files. Its functions raise ValueError with the reason alone, without the path."""

    title: str  # in sentences: "rosinality's stylegan2-pytorch"
    container: Container
    claims: Callable[[Any], bool]  # whether contents of such a file are this program's
    convert: Callable[[Any, Path], Converted]  # contents, path


def open_foreign(path: Path, readers: Iterable[Foreign]) -> Converted | None:
    """Read a file of another program and run none of the code in it; None if no reader opens this kind of file.

    Raises:
        ValueError: if the file is damaged, asks for code that is not allowed, or belongs to no known program.
    """
    fitting = _fitting(path, readers)
    if not fitting:
        return None
    try:
        contents = fitting[0].container.read(path)
        for reader in fitting:
            if reader.claims(contents):
                return reader.convert(contents, path)
        titles = " or ".join(reader.title for reader in fitting)
        raise ValueError(f"it holds {_named(contents)}, expected a file of {titles}")
    except ValueError as error:
        raise ValueError(f"{path} is refused: {printable(str(error))}") from error


def _fitting(path: Path, readers: Iterable[Foreign]) -> list[Foreign]:
    """The readers of the kind of file that `path` is. All have the same container."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = [reader for reader in readers if reader.container.begins(head)]
    return [reader for reader in found if reader.container is found[0].container]


def _named(contents: Any) -> str:
    if not isinstance(contents, Mapping):
        return shown(contents)
    names = [shown(name) for name in list(contents)[:_LISTED]]
    return ", ".join(names + ["..."] * (len(contents) > _LISTED)) or "nothing"
