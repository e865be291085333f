"""Files of other programs: which program wrote one, its networks under the names of our files, and how one is written.

`Foreign` and `Format` are the types of the rows in which a family names what it reads and writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from models.sampler import Options
from system.text import printable, shown
from torch_utils.config import build, parse_set, settings

_HEAD = 512  # bytes that tell a kind of file
_LISTED = 8  # names in a sentence

Notes = dict[Path, str]  # files that were written, each with a remark for the user


class Converted(NamedTuple):
    """What a network file of ours would hold.

    `metadata` has the configuration of every part under the part's `config_name`, and under `source` what is known of
    the file: at least `format`, in words such as `StyleGAN2-ADA pickle`, and `left_out` for parts that cannot be built
    (name -> reason). `tensors` are named `PART.tensor`.
    """

    family: str
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class Told(NamedTuple):
    """What a user says of a file of another program that the file itself does not say."""

    params: Mapping[str, Any] = {}  # by the names of options that have a flag; None: not given
    sets: Sequence[str] = ()  # as of `--set`: "heads=3"

    @property
    def something(self) -> bool:
        return bool(self.sets) or any(value is not None for value in self.params.values())


NOTHING = Told()


class Foreign(NamedTuple):
    """A reader of another program's files. Its functions raise ValueError with the reason alone, without the path."""

    title: str  # in sentences: "rosinality's stylegan2-pytorch"
    begins: Callable[[bytes], bool]  # whether a file with this beginning may be this program's
    read: Callable[[Path], Any]  # gives the contents and runs no code of the file; one function for a kind of file
    claims: Callable[[Any], bool]  # whether contents of such a file are this program's
    convert: Callable[..., Converted]  # contents, path; and an instance of `options`, if there is such a class
    options: type[Options] | None = None  # what convert.py takes for such a file, by flags or by --set NAME=VALUE


class Job(NamedTuple):
    """A network file to write in another format."""

    source: str  # name of the file
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    class_names: list[str]
    networks: Mapping[str, nn.Module]  # the parts to write
    dest: Path
    options: Any  # of the format's class


@dataclass(frozen=True)
class Format:
    """A format of files or folders that networks can be written as."""

    ending: str  # ".onnx"; "" for a folder
    name: str  # in sentences: "an .onnx"
    write: Callable[[Job], Notes]
    options: type[Options] = Options
    one: bool = False  # holds one network that makes pictures, and nothing else
    shows: bool = False  # needs a network that makes pictures, if the family has any
    check: Callable[[Path], None] = lambda dest: None  # raises ValueError if --dest or a package rules the format out


def open_foreign(path: Path, readers: Iterable[Foreign], told: Told = NOTHING) -> Converted | None:
    """Read a file of another program and run none of the code in it; None if no reader opens this kind of file.

    Raises ValueError if the file is damaged, asks for code that is not allowed, or belongs to no known program.
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
                return reader.convert(contents, path, *_options(reader, told))
        names = list(map(shown, contents))[:_LISTED] if isinstance(contents, Mapping) else [shown(contents)]
        titles = " or ".join(reader.title for reader in fitting)
        raise ValueError(f"it holds {', '.join(names) or 'nothing'}, expected a file of {titles}")
    except ValueError as error:
        raise ValueError(f"{path} is refused: {printable(str(error))}") from error


def _options(reader: Foreign, told: Told) -> list[Options]:
    """The options that a reader takes, if any, from those that were told."""
    if reader.options is None:
        if told.something:
            raise ValueError(f"a file of {reader.title} takes no options")
        return []
    values = {name: value for name, value in told.params.items() if value is not None}
    own = {name for name, setting in settings(reader.options).items() if "flag" in setting.mark}
    if others := values.keys() - own:
        raise ValueError(f"--{min(others).replace('_', '-')} does not apply to a file of {reader.title}")
    return [build(reader.options, values | parse_set(reader.options, told.sets))]
