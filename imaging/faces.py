"""Cartoon faces: a small world of images whose every factor is known.

A `Face` has factors of three scales: coarse (pose, head, hair), middle (eyes, glasses, expression) and fine (colors).
The expression is the class.
"""

from bisect import bisect_right
from dataclasses import astuple, dataclass, fields

import numpy as np

EXPRESSIONS = ("happy", "sad", "surprised", "angry", "sleepy")
HAIR_STYLES = ("short", "long", "bob", "bun", "curly")
GLASSES = ("none", "round", "square")
GLASSES_UP_TO = np.cumsum([0.7, 0.15, 0.15]).tolist()  # cumulative shares of all faces


@dataclass(frozen=True)
class Face:
    """Everything that determines an image. Styles and the expression are indices. Data files hold the names."""

    # coarse
    turn: float  # -1..1: looks to the left .. right of the image
    tilt: float  # -1..1: leans by at most 12 degrees
    shift: float  # -1..1: horizontal place in the image
    head_width: float  # 0..1
    jaw: float  # 0 round .. 1 pointed
    hair_style: int  # into HAIR_STYLES
    hair_length: float  # 0..1
    parting: float  # -1..1: where the fringe opens
    # middle
    eye_size: float  # 0..1
    eye_spacing: float  # 0..1
    eye_color: float  # 0 brown .. green .. 1 blue
    mouth_width: float  # 0..1
    glasses: int  # into GLASSES
    expression: int  # into EXPRESSIONS: the class
    # fine
    skin: float  # 0 light .. 1 dark
    hair_color: float  # 0 black .. brown .. red .. 1 blonde
    background: float  # 0..1: hue


FACTORS = tuple(field.name for field in fields(Face))


def sample_face(seed: int, index: int) -> Face:
    """Face `index` of the world `seed` (both 0..2**32-1). Any 5 successive faces show all classes."""
    draws = np.random.RandomState([seed, index])  # its stream is frozen
    turn, tilt, shift, parting = draws.uniform(-1, 1, 4).tolist()
    unit = draws.uniform(0, 1, 10).tolist()
    style, glasses = int(draws.randint(len(HAIR_STYLES))), bisect_right(GLASSES_UP_TO, draws.random_sample())
    expression = index % len(EXPRESSIONS)
    coarse = turn, tilt, shift, *unit[:2], style, unit[2], parting
    return Face(*coarse, *unit[3:7], glasses, expression, *unit[7:])


def factors_of(face: Face) -> np.ndarray:
    """The numbers of a face as float32 [17], in the order of FACTORS."""
    return np.array(astuple(face), dtype=np.float32)
