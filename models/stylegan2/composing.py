"""Pictures composed of several: styles of others in single layers, and steps along directions.

They are texts of two options: `--styles-of "85@coarse;7/2@7-9@0.5"` and `--move "smile:2;age:-1@0-6"`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.stylegan2.directionfile import Directions
from models.stylegan2.latents import layer_range
from torch_utils.flags import Mixture, Number

_PART = re.compile(r"\s*([^@;]+?)(?:/([0-9][0-9:.,]*))?@([A-Za-z0-9,-]+)(?:@([-+.0-9e]+))?\s*")
_MOVE = re.compile(r"\s*(.+?):([-+.0-9e]+)(?:@([A-Za-z0-9,-]+))?\s*")
MOST_PARTS = 64
_EXPECTED = "expected parts such as 85@coarse;7/2@7-9@0.5"


class Part(NamedTuple):
    """The styles of one picture in some layers."""

    seeds: tuple[tuple[int, float], ...]  # a seed, or a mixture of seeds; empty for a file
    file: Path | None  # of latents, of which the first is taken
    classes: tuple[tuple[int, float], ...]  # with their weights; empty for the seed's own
    layers: Sequence[int]
    weight: float  # 1: the other picture's styles alone, 0: none of them


def read_parts(text: str, num_ws: int, option: str = "--styles-of") -> tuple[Part, ...]:
    """The parts that a text names, in the order in which they act. Raise ValueError for one that is unfit."""
    return tuple(_part(piece, num_ws, option) for piece in _pieces(text, "parts", option))


def _pieces(text: str, what: str, option: str) -> list[str]:
    pieces = text.split(";") if text.strip() else []
    if len(pieces) > MOST_PARTS:
        raise ValueError(f"{option}: got {len(pieces)} {what}, expected at most {MOST_PARTS}")
    return pieces


def _part(piece: str, num_ws: int, option: str) -> Part:
    found = _PART.fullmatch(piece)
    if found is None:
        raise ValueError(f"{option}: got {piece.strip()!r}, {_EXPECTED}")
    source, classes, layers, weight = found.groups()
    file = Path(source) if source.endswith((".npz", ".npy")) else None
    try:
        seeds = () if file else tuple(Mixture().read(source))
        mixture = tuple((label, share) for label, share in Mixture().read(classes)) if classes else ()
        share = Number().read(weight) if weight else 1.0
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    return Part(seeds, file, mixture, layer_range(layers, num_ws, option), share)


class Move(NamedTuple):
    """A step along a direction."""

    place: int  # of the direction in its file
    strength: float  # standard deviations
    layers: Sequence[int] | None  # None: the direction's own


def read_moves(text: str, directions: Directions, num_ws: int, option: str = "--move") -> list[Move]:
    """The steps that a text names. Raise ValueError for one that is unfit."""
    moves = []
    for piece in _pieces(text, "steps", option):
        found = _MOVE.fullmatch(piece)
        if found is None:
            raise ValueError(f"{option}: got {piece.strip()!r}, expected steps such as smile:2;age:-1@0-6")
        name, strength, layers = found.groups()
        try:
            step = Number().read(strength)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from error
        place = directions.place(name, option)
        moves.append(Move(place, step, layer_range(layers, num_ws, option) if layers else None))
    return moves
