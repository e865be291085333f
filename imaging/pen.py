"""Drawing in unit coordinates: the shorter side of the image spans -1..1, x runs to the right and y down."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Points = np.ndarray  # [points, 2], (x, y)


class Pen:
    """Draws in the face's own coordinates: moved, rotated and scaled into the image."""

    def __init__(self, canvas: Image.Image, scale: float) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.scale = scale
        self.middle = np.array([canvas.width / 2, canvas.height / 2])
        self.place(0, 0, 0, 1)

    def place(self, x: float, y: float, angle: float, size: float) -> None:
        """Put the face's origin at (x, y), leaning by `angle` radians, `size` times as large."""
        cos, sin = math.cos(angle), math.sin(angle)
        self.origin = self.middle + np.array([x, y]) * self.scale
        self.turned = np.array([[cos, sin], [-sin, cos]]) * (self.scale * size)
        self.thickness = self.scale * size
        self.turned_rows, self.origin_xy = self.turned.tolist(), self.origin.tolist()

    def shape(self, points: Points, color: Color) -> None:
        """A filled polygon."""
        self.draw.polygon(self._pixels(points), fill=color)

    def blob(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """A filled ellipse."""
        # A face is mostly ellipses: radii, center and place in the image become one small matrix.
        (a, b), (c, d) = self.turned_rows
        to_x, to_y = self.origin_xy
        frame = ((rx * a, rx * b), (ry * c, ry * d), (x * a + y * c + to_x, x * b + y * d + to_y))
        self.draw.polygon(_CIRCLE_1.dot(frame).ravel().tolist(), fill=color)

    def stroke(self, points: Points, thickness: float, color: Color) -> None:
        """A line with round ends and corners."""
        xy = self._pixels(points)
        radius = thickness * self.thickness / 2
        self.draw.line(xy, fill=color, width=max(round(2 * radius), 1), joint="curve")
        for x, y in (xy[:2], xy[-2:]):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def _pixels(self, points: Points) -> list[float]:
        flat: list[float] = (points @ self.turned + self.origin).ravel().tolist()
        return flat


_ANGLES = np.linspace(0, 2 * math.pi, 48, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_CIRCLE_1 = np.concatenate([CIRCLE, np.ones([len(CIRCLE), 1])], axis=1)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """Points of an ellipse between two angles in degrees: 0 is right, 90 is down, 270 is up."""
    return _unit_arc(start, end) * (rx, ry) + (x, y)


@lru_cache
def _unit_arc(start: float, end: float) -> Points:
    angles = np.radians(np.linspace(start, end, 20))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def line(*points: tuple[float, float]) -> Points:
    """The given points, in order."""
    return np.array(points)
