"""Files of other programs: which program wrote one, its networks under the names of our files, and how one is written.

`Foreign` and `Format` are the types of the rows in which a family names what it reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from models.sampler import Options
from system.text import printable, shown
from torch_utils.config import build, parse_set, settings

_HEAD = 512  # bytes that tell a kind of file
_LISTED = 8  # names in a sentence

Shapes = Mapping[str, tuple[int, ...]]
Notes = dict[Path, str]  # files that were written, each with a remark for the user


class Converted(NamedTuple):
    """What a network file of ours would hold.

    `metadata` has the configuration of every part under the part's `config_name`, and under `source` what is known of
    the file: at least `format`, in words such as `StyleGAN2-ADA pickle`, and `left_out` for parts that cannot be built
    (name -> reason). `tensors` are named `PART.tensor`.
    """

    family: str
    metadata: dict[str, Any]
    tensors: dict[str, torch.Tensor]


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
    tensors: Mapping[str, torch.Tensor]
    class_names: list[str]
    networks: Mapping[str, torch.nn.Module]  # the parts to write
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
    kind: str = ""  # the value of --format that chooses it, for a folder: "hub"
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


def shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor. Raises ValueError if the file has no such tensor, or one of other dimensions."""
    if name not in shapes:
        raise ValueError(f"it has no tensor {name}, which every such network has")
    shape = shapes[name]
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"its {name} has shape {shown(list(shape))}, expected {dimensions} dimensions")
    return shape


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def renamed(
    tensors: Mapping[str, torch.Tensor], names: Mapping[str, str], network: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """A file's tensors under our names; `names` are theirs -> ours, and further axes of length 1 are dropped.

    Raises ValueError if tensors of the network are missing, left over, of another shape or no floating-point numbers.
    """
    shapes = shapes_of(network.state_dict())
    if missing := sorted(names.keys() - tensors.keys()):
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := sorted(tensors.keys() - names.keys()):
        raise ValueError(f"{len(extra)} tensors have no place in this network, the first is {printable(extra[0], 80)}")
    for theirs, ours in names.items():
        found, expected = list(tensors[theirs].shape), list(shapes[ours])
        if [n for n in found if n != 1] != [n for n in expected if n != 1]:
            raise ValueError(f"its {theirs} has shape {shown(found)}, expected {expected}")
        if not tensors[theirs].is_floating_point():
            raise ValueError(f"its {theirs} is of {tensors[theirs].dtype}, expected floating-point numbers")
    return {ours: tensors[theirs].reshape(shapes[ours]) for theirs, ours in names.items()}


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
