"""Directions of w: how they move a picture, and the file that keeps them.

A direction acts on w (Shen et al. 2020; Härkönen et al. 2020): styles are affine functions of w, so a step means the
same wherever it starts. Letters: K number of directions, N batch, L number of w, D width of w.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from models.stylegan2.generator import StyledGenerator
from system.text import shown
from torch_utils import checkpoint

FORMAT: Literal["stylegan2-directions"] = "stylegan2-directions"
LENGTH_TOLERANCE = 1e-3  # how far the length of a direction in a file may be from 1

_EXPECTED = "give a directions.safetensors that directions.py wrote"


def move(ws: Tensor, direction: Tensor, step: float, layers: Sequence[int]) -> Tensor:
    """w'_l = w_l + step * n for the layers l, and w_l for the others: ws [N, L, D], n [D], step in units of w."""
    moved = ws.clone()
    if step:
        moved[:, list(layers)] += step * direction.to(ws)
    return moved


class Directions(BaseModel):
    """Directions found in one network; all but the tensors is a file's metadata."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    format: Literal["stylegan2-directions"] = FORMAT
    version: Literal[1] = 1
    names: tuple[str, ...] = Field(min_length=1)
    vectors: Tensor = Field(exclude=True)  # [K, D] of length 1, float32
    scales: Tensor = Field(exclude=True)  # [K]: the standard deviation of w along each, within a class; strength 1
    # The layers that each acts on unless others are given.
    layers: tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...]
    method: str  # how they were found
    num_ws: int  # L of the network
    network: str  # its fingerprint
    aliases: dict[str, str] = {}  # earlier names, by which directions are found, too

    @model_validator(mode="after")
    def _is_complete(self) -> "Directions":
        check_names(self.names)
        counts = {len(self.names), len(self.layers), len(self.vectors), len(self.scales)}
        if self.vectors.ndim != 2 or self.scales.ndim != 1 or len(counts) > 1 or self.deepest >= self.num_ws:
            raise ValueError("shapes or counts differ")
        even = (self.vectors.norm(dim=1) - 1).abs() < LENGTH_TOLERANCE
        if not bool(even.all() and (self.scales.isfinite() & (self.scales > 0)).all()):
            raise ValueError("a length is not 1, or a scale is not positive")
        return self

    @property
    def deepest(self) -> int:
        """The last layer that any direction acts on."""
        return max(map(max, self.layers))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, text: str, option: str = "directions") -> list[int]:
        """The places of directions in a list of names and places such as `0,turn`; `option` is named in errors."""
        return list(dict.fromkeys(self.place(part.strip(), option) for part in text.split(",")))

    def place(self, part: str, option: str = "directions") -> int:
        """The place of the direction with a name, or of the one at a place that a text names."""
        name = self.aliases.get(part, part)
        if name in self.names:
            return self.names.index(name)
        if part.isascii() and part.isdigit() and int(part) < len(self):
            return int(part)
        known = ", ".join(f"{k} {name}" for k, name in enumerate(self.names))
        raise ValueError(f"{option}: got {part!r}, expected some of {known}")

    def step(self, k: int, strength: float, ws: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """ws [N, L, D] moved along direction k by `strength` standard deviations, in its own layers or in others."""
        return move(ws, self.vectors[k], strength * float(self.scales[k]), self.layers[k] if layers is None else layers)


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless each name is unique, printable, no number, and allowed in file names."""
    for name in names:
        allowed = name.isprintable() and not set(name) & set(',/\\:*?"<>|') and name == name.strip()
        if not name or not allowed or name.isdigit() or name.startswith("."):
            raise ValueError(f"{name!r} cannot name a direction: write letters, digits, spaces, dots, - and _")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"two directions are called {twice!r}: give each its own name")


def fingerprint(G: StyledGenerator) -> str:
    """16 hexadecimal digits that identify a network by its weights, in float16, so half-precision copies are equal."""
    sha = hashlib.sha256()
    for name, tensor in sorted(G.state_dict().items()):
        half = tensor.detach().cpu().half().contiguous()
        sha.update(f"{name} {list(half.shape)}".encode())
        sha.update(half.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]


def save_directions(path: Path, directions: Directions, **facts: Any) -> None:
    """Write a file of directions, atomically; `facts` are further JSON metadata."""
    tensors = {"vectors": directions.vectors.float(), "scales": directions.scales.float()}
    checkpoint.save(path, tensors, directions.model_dump(mode="json") | facts)


def load_directions(path: Path) -> Directions:
    """Read a file of directions; no code in it runs. Raise FileNotFoundError or ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {_EXPECTED}")
    try:
        tensors, metadata = checkpoint.load(path)
    except checkpoint.DamagedError as error:
        if path.suffix.lower() == ".safetensors" and not isinstance(error, checkpoint.ForeignError):
            raise
        metadata = {}
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of directions: {_EXPECTED}")
    if type(metadata.get("version")) is not int or metadata["version"] != 1:
        version = shown(metadata.get("version"))
        raise ValueError(
            f"{path} holds directions of format {version}, which this program is too old for: update the program"
        )
    try:
        return Directions.model_validate(metadata | {name: tensor.float() for name, tensor in tensors.items()})
    except ValueError as error:
        raise checkpoint.DamagedError(path, "its directions are not complete") from error


def check_fit(directions: Directions, G: StyledGenerator, path: Path) -> str:
    """A warning if directions of a file were found in another network, or "". Raise ValueError if w does not fit."""
    width, L, misfit = directions.vectors.shape[1], G.config.num_ws, ""
    if width != G.config.w_dim:
        misfit = f"of {width} numbers, but this network's w has {G.config.w_dim}"
    elif directions.deepest >= L:
        misfit = f"that act on layer {directions.deepest}, but this network's layers are 0-{L - 1}"
    if misfit:
        mend = "give the network that they were found in, or find this network's own"
        raise ValueError(f"{path} holds directions {misfit}: {mend}")
    if directions.network == fingerprint(G):
        return ""
    return f"{path} was made with another network: its directions may mean something else in this one"
