"""What a network can be written as: the type of the rows in which a family names its own formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from models.sampler import Options

Notes = dict[Path, str]  # files that were written, each with a remark for the user


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
    """A format of files or folders."""

    ending: str  # ".onnx"; "" for a folder
    name: str  # in sentences: "an .onnx"
    write: Callable[[Job], Notes]
    options: type[Options] = Options
    one: bool = False  # holds one network that makes pictures, and nothing else
    shows: bool = False  # needs a network that makes pictures, if the family has any
    check: Callable[[Path], None] = lambda dest: None  # raises ValueError if --dest or a package rules the format out
