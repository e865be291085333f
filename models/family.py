"""What a family of networks offers: its parts, the files it is read from, and how pictures are made with it.

To add a family, write such a row in a room of its own, and name the row in `models/families.py`. --help reads the
rows, so they import the modules that need PyTorch without running them (`system.late`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from models import graphs, toolbox
from models.foreign import Foreign, Format
from models.places import Published
from models.restyling import Restyler
from models.sampler import Options, Sampler, Shape


@dataclass(frozen=True)
class Part:
    """One network of a family."""

    config_name: str  # key of its configuration in the metadata of a file: "generator"
    config: type[BaseModel]
    build: Callable[[Any], torch.nn.Module]  # from a configuration; has a `config` and `set_precision`
    role: str  # in sentences: "the averaged generator"
    example: Callable[[Any], tuple[Any, ...]]  # arguments to call it with, on the meta device, from its configuration
    optional: bool = False  # files of other programs are read without it where it does not fit


@dataclass(frozen=True)
class Family:
    """Everything that the engine has to know of a family."""

    name: str  # in files: "stylegan2"
    title: str  # in sentences: "StyleGAN2"
    parts: Mapping[str, Part]  # by the prefix of their tensors in a file: "G_ema"
    shown: tuple[str, ...]  # parts that can make pictures, the preferred one first; empty if the family makes none
    shape: Callable[[Any], Shape] = Shape.of  # from the configuration of any part
    facts: Callable[[Any], Mapping[str, str]] = lambda config: {}  # from that of a shown part, for `describe`
    options: type[Options] = Options  # what a user may choose about its pictures
    judged: Options = field(default_factory=Options)  # the choice that metrics are computed with
    # (networks on their device and in their precision, options, metadata of the file) -> sampler; None: no pictures.
    # The first network is the shown part; those that options with the mark `opens` name follow, by field name.
    open_sampler: Callable[[Mapping[str, torch.nn.Module], Any, Mapping[str, Any]], Sampler] | None = None
    # (sampler, file that directions are kept in) -> tools to work on its latents; None: there are none.
    open_toolbox: Callable[[Any, Path], toolbox.Toolbox] | None = None
    # (a part, on its device) -> what puts pictures into the styles of others; None: the family does not.
    open_restyler: Callable[[Any], Restyler] | None = None
    foreign: tuple[Foreign, ...] = ()  # other programs whose files are read
    formats: tuple[Format, ...] = ()  # what its networks can be written as, beside the formats of any family
    published: Mapping[str, Published] = field(default_factory=dict)  # networks that others published, by name
    # the graphs of a shown part for a page without a server, with the name of its file; None: no such pages
    web: Callable[[Any, str], graphs.WebGraphs] | None = None
    # of a model card:
    tags: tuple[str, ...] = ()
    task: str = "unconditional-image-generation"  # the Hub's pipeline_tag
    caption: str = ""  # how its samples are made, after "not picked"
    script: str = "generate.py"  # makes pictures with its networks; "" if no script does
    command: str = "--seeds 0-15"  # options of this script in the example
    use: Callable[[Any], str] | None = None  # example in Python, after `network = load_network(...)`
    told: Mapping[str, str] = field(default_factory=dict)  # training settings worth a row: words -> dotted name
