"""Directions of w that mean something: what they are, how they move a picture, and the file they are kept in.

A direction acts on w, behind the mapping network: there the styles are affine functions of what is moved, and a step
of one length means the same wherever it starts. In z it would not, for the mapping normalises and bends.
Letters: K number of directions, N batch, L number of w, D width of w.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.stylegan2.generator import Generator
from system.text import printable, shown
from torch_utils import checkpoint

FORMAT = "stylegan2-directions"
VERSION = 1
LENGTH_TOLERANCE = 1e-3  # by how much the length of a direction in a file may differ from 1

_WANTED = "give a directions.safetensors that directions.py wrote"


def move(ws: Tensor, direction: Tensor, step: float, layers: Sequence[int]) -> Tensor:
    """w'_l = w_l + step * n for the layers l, and w_l for the others (Shen et al. 2020; Härkönen et al. 2020).

    Args:
        ws: [N, L, D].
        direction: n, [D].
        step: how far, in the units of w.
        layers: which of the L layers move.
    """
    moved = ws.clone()
    if step:
        moved[:, list(layers)] += step * direction.to(ws)
    return moved


@dataclass(frozen=True)
class Directions:
    """Directions found in one network.

    Their names are texts without commas that are not whole numbers, so that a list can tell them from their places.
    """

    names: tuple[str, ...]
    vectors: Tensor  # [K, D] of length 1, float32
    scales: Tensor  # [K]: the standard deviation of w along each, within a class; strength 1 is one such step
    layers: tuple[tuple[int, ...], ...]  # the layers that each acts on unless others are named
    method: str  # how they were found
    num_ws: int  # L of the network
    network: str  # its fingerprint

    def __post_init__(self) -> None:
        check_names(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, text: str, option: str = "directions") -> list[int]:
        """The places of directions in a list of names and places such as `0,turn`, in its order.

        Raises:
            ValueError: for an unknown direction; the error names `option` and all directions.
        """
        found = []
        for part in (part.strip() for part in text.split(",")):
            if part in self.names:
                found.append(self.names.index(part))
            elif part.isascii() and part.isdigit() and int(part) < len(self):
                found.append(int(part))
            else:
                known = ", ".join(f"{k} {name}" for k, name in enumerate(self.names))
                raise ValueError(f"{option}: got {part!r}, expected some of {known}")
        return list(dict.fromkeys(found))

    def step(self, k: int, strength: float, ws: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """ws [N, L, D] moved along direction k by `strength` standard deviations, in its own layers or in others."""
        return move(ws, self.vectors[k], strength * float(self.scales[k]), self.layers[k] if layers is None else layers)


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError unless each name can be a direction's: printable, alone, no number, and part of a file name."""
    for name in names:
        if not name.strip() or name != name.strip() or not name.isprintable() or set(name) & set(',/\\:*?"<>|'):
            raise ValueError(f"{name!r} cannot name a direction: write letters, digits, spaces, dots, - and _ only")
        if name.isdigit():
            raise ValueError(f"{name!r} cannot name a direction, for it would be taken for its number: add a letter")
        if name.startswith("."):
            raise ValueError(f"{name!r} cannot name a direction, for files of that name are hidden: drop the dot")
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"two directions are called {twice!r}: give each a name of its own")


def fingerprint(G: Generator) -> str:
    """A text of 16 digits that tells networks apart by their weights.

    The weights are taken in float16, so that a copy of a network in half precision counts as the same.
    """
    sha = hashlib.sha256()
    for name, tensor in sorted(G.state_dict().items()):
        half = tensor.detach().cpu().half().contiguous()
        sha.update(f"{name} {list(half.shape)}".encode())
        sha.update(half.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]


def save_directions(path: Path, directions: Directions, **facts: Any) -> None:
    """Writes a file of directions, whole or not at all; `facts` (JSON) say more about how they were found."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "names": list(directions.names),
        "layers": [list(layers) for layers in directions.layers],
        "method": directions.method,
        "num_ws": directions.num_ws,
        "network": directions.network,
    }
    tensors = {"vectors": directions.vectors.float(), "scales": directions.scales.float()}
    checkpoint.save(path, tensors, metadata | facts)


def load_directions(path: Path) -> Directions:
    """Reads a file of directions; nothing in it is run.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, no file of directions, or of a version that is not known here.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {_WANTED}")
    try:
        tensors, metadata = checkpoint.load(path)
    except checkpoint.DamagedError as error:
        if path.suffix.lower() == ".safetensors" and not isinstance(error, checkpoint.ForeignError):
            raise
        raise ValueError(f"{path} is no file of directions: {_WANTED}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of directions: {_WANTED}")
    if type(metadata.get("version")) is not int or metadata["version"] != VERSION:
        raise ValueError(
            f"{path} holds directions of format {shown(metadata.get('version'))}, which this program is too old for: "
            f"update the program"
        )
    try:
        return _checked(tensors, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoint.DamagedError(path, "its directions are not complete") from error


def _checked(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Directions:
    """The directions of a file. Raises KeyError, TypeError or ValueError for whatever no file of ours holds."""
    vectors, scales = tensors["vectors"].float(), tensors["scales"].float()
    names, num_ws, method, network = (metadata[key] for key in ("names", "num_ws", "method", "network"))
    layers = tuple(_whole_numbers(each) for each in metadata["layers"])
    if type(num_ws) is not int or not all(isinstance(text, str) for text in (*names, method, network)):
        raise TypeError("no texts and numbers")
    if vectors.ndim != 2 or scales.shape != vectors.shape[:1] or not len(names) == len(layers) == len(vectors) > 0:
        raise ValueError("counts differ")
    lengths = vectors.norm(dim=1)
    if not bool(((lengths - 1).abs() < LENGTH_TOLERANCE).all()) or not bool((scales.isfinite() & (scales > 0)).all()):
        raise ValueError("not of length 1, or without a scale")
    if not all(each and min(each) >= 0 and max(each) < num_ws for each in layers):
        raise ValueError("layers that are not there")
    return Directions(tuple(names), vectors, scales, layers, printable(method, 80), num_ws, network)


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("no list of whole numbers")
    return tuple(values)


def check_fit(directions: Directions, G: Generator, path: Path) -> str:
    """Whether directions of a file can act on a network: "" if they are its own, else a sentence of warning.

    Raises:
        ValueError: when its w has another width, or it lacks layers that they act on.
    """
    width, L = directions.vectors.shape[1], G.config.num_ws
    if width != G.config.w_dim:
        raise ValueError(
            f"{path} holds directions of a w with {width} numbers, and this network's has {G.config.w_dim}: "
            f"name the network that they were found in, or find this one's"
        )
    deepest = max(max(layers) for layers in directions.layers)
    if deepest >= L:
        raise ValueError(
            f"{path} holds directions that act on layer {deepest}, and this network's layers are 0-{L - 1}: "
            f"name the network that they were found in, or find this one's"
        )
    if directions.network == fingerprint(G):
        return ""
    return f"{path} was made with another network: its directions may mean something else in this one"
