"""Files of other programs: which program wrote one, and its networks under the names that our files use."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from models.sampler import Options
from system.text import printable, shown
from torch_utils import torchfile
from torch_utils.config import build, parse_set, settings

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


class Told(NamedTuple):
    """What a user says of a file of another program that the file itself does not say."""

    params: Mapping[str, Any] = {}  # by the names of options that have a flag; None: not given
    sets: Sequence[str] = ()  # as of `--set`: "heads=3"

    @property
    def something(self) -> bool:
        return bool(self.sets) or any(value is not None for value in self.params.values())


NOTHING = Told()


@dataclass(frozen=True)
class Foreign:
    """A reader of another program's files. Its functions raise ValueError with the reason alone, without the path."""

    title: str  # in sentences: "rosinality's stylegan2-pytorch"
    container: Container
    claims: Callable[[Any], bool]  # whether contents of such a file are this program's
    convert: Callable[..., Converted]  # contents, path; and an instance of `options`, if there is such a class
    options: type[Options] | None = None  # what convert.py takes for such a file, by flags or by --set NAME=VALUE


def open_foreign(path: Path, readers: Iterable[Foreign], told: Told = NOTHING) -> Converted | None:
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
                return _converted(reader, contents, path, told)
        titles = " or ".join(reader.title for reader in fitting)
        raise ValueError(f"it holds {_named(contents)}, expected a file of {titles}")
    except ValueError as error:
        raise ValueError(f"{path} is refused: {printable(str(error))}") from error


def _converted(reader: Foreign, contents: Any, path: Path, told: Told) -> Converted:
    if reader.options is None:
        if told.something:
            raise ValueError(f"a file of {reader.title} takes no options")
        return reader.convert(contents, path)
    own = {name for name, setting in settings(reader.options).items() if "flag" in setting.mark}
    if foreign := [name for name, value in told.params.items() if value is not None and name not in own]:
        raise ValueError(f"--{foreign[0].replace('_', '-')} does not apply to a file of {reader.title}")
    values = {name: value for name, value in told.params.items() if value is not None}
    return reader.convert(contents, path, build(reader.options, values | parse_set(reader.options, told.sets)))


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
