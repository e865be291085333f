"""Cartoon faces, a small world of images whose every factor is known, and how they are drawn: large clean shapes in few
colors, which a small network can learn.

Drawing is in unit coordinates: the shorter side of the image spans -1..1, x runs to the right and y down.
"""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Points = np.ndarray  # [points, 2], (x, y)

EXPRESSIONS = ("happy", "sad", "surprised", "angry", "sleepy")
HAIR_STYLES = ("short", "long", "bob", "bun", "curly")
GLASSES = ("none", "round", "square")

SKIN = ((255, 226, 204), (246, 203, 166), (222, 164, 120), (174, 118, 82), (126, 84, 62))
HAIR = ((38, 32, 44), (92, 54, 40), (158, 74, 42), (222, 136, 58), (244, 206, 116))
EYES = ((84, 52, 34), (78, 122, 62), (52, 124, 176))
INK, WHITE, FRAME = (44, 34, 44), (255, 255, 255), (60, 52, 72)
LIPS, TONGUE, BLUSH, TEAR = (146, 28, 56), (236, 108, 116), (240, 96, 96), (96, 180, 244)

_ANGLES = np.linspace(0, 2 * math.pi, 48, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_CIRCLE_1 = np.concatenate([CIRCLE, np.ones([len(CIRCLE), 1])], axis=1)
CHIN = np.maximum(CIRCLE[:, 1], 0) ** 1.5  # how far down the head, at each point of a circle
ACROSS = np.linspace(1, -1, 24)  # the hairline, from the right to the left
SIDE_LOCKS = 0.22 * np.maximum(np.abs(ACROSS) - 0.72, 0) / 0.28


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


class Pen:
    """Draws in the face's own coordinates: moved, rotated and scaled into the image."""

    def __init__(self, canvas: Image.Image, scale: float) -> None:
        self.draw, self.scale = ImageDraw.Draw(canvas), scale
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


def _ramp(stops: Sequence[Color], place: float) -> Color:
    """Color at `place` 0..1 on the straight path through `stops`."""
    where = place * (len(stops) - 1)
    i = min(int(where), len(stops) - 2)
    return _mix(stops[i], stops[i + 1], where - i)


def _mix(a: Color, b: Color, share: float) -> Color:
    (r, g, b_), (to_r, to_g, to_b) = a, b
    return round(r + (to_r - r) * share), round(g + (to_g - g) * share), round(b_ + (to_b - b_) * share)


def _hue(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_face(face: Face, height: int, width: int) -> Image.Image:
    """An RGB image of `height` x `width` pixels with smooth edges."""
    fine = 4 if min(height, width) <= 64 else 2  # drawn larger, then averaged
    canvas = Image.new("RGB", (width * fine, height * fine), _hue(face.background, 0.42, 0.86))
    _Portrait(face, Pen(canvas, min(height, width) * fine / 2)).draw()
    return canvas.reduce(fine)


class _Portrait:
    """Draws the parts of a face, from back to front."""

    def __init__(self, face: Face, pen: Pen) -> None:
        self.face, self.pen = face, pen
        self.skin, self.hair = _ramp(SKIN, face.skin), _ramp(HAIR, face.hair_color)
        self.rx, self.ry = 0.54 + 0.1 * face.head_width, 0.68  # of the head
        self.style, self.expression = HAIR_STYLES[face.hair_style], EXPRESSIONS[face.expression]
        self.turn = 0.12 * face.turn  # eyes, brows, cheeks, nose and mouth glide over the head as it turns

    def draw(self) -> None:
        face, pen = self.face, self.pen
        pen.blob(0, 0.1, 0.94, 0.94, _hue(face.background, 0.28, 0.97))
        pen.place(0.1 * face.shift, 0.08, 0.21 * face.tilt, 1.08)
        self.hair_behind()
        pen.blob(0, 1.18, 0.78, 0.46, _hue(face.background + 0.45, 0.55, 0.72))
        neck = line((-0.2, 0.4), (0.2, 0.4), (0.24, 0.84), (0, 0.96), (-0.24, 0.84))
        pen.shape(neck, _mix(self.skin, LIPS, 0.32))
        self.head()
        self.hair_before()
        blush = _mix(self.skin, BLUSH, {"happy": 0.4, "angry": 0.45}.get(self.expression, 0.18))
        spacing = 0.23 + 0.05 * face.eye_spacing
        for side in (-1, 1):
            near = 1 - 0.16 * side * face.turn  # the side turned away looks narrower
            pen.blob(side * (spacing + 0.07) + self.turn, 0.23, 0.12 * near, 0.08, blush)
            self.eye(side, side * spacing + self.turn, near)
        pen.stroke(arc(1.35 * self.turn, 0.15, 0.05, 0.05, 20, 160), 0.04, _mix(self.skin, LIPS, 0.5))
        self.mouth(1.1 * self.turn)
        if face.glasses:
            self.glasses(spacing)

    def hair_behind(self) -> None:
        pen, rx, ry, length = self.pen, self.rx, self.ry, self.face.hair_length
        color, x = _mix(self.hair, INK, 0.25), -0.05 * self.face.turn
        if self.style in ("long", "bob"):
            bottom, flare = (0.75 + 0.4 * length, 0.12) if self.style == "long" else (0.28 + 0.3 * length, 0.2)
            crown = arc(x, -0.1, rx + 0.13, ry * 0.98, 180, 360)
            high = bottom - 0.1
            ends = line((x + rx + flare, high), (x + rx, bottom), (x - rx, bottom), (x - rx - flare, high))
            pen.shape(np.concatenate([crown, ends]), color)
        elif self.style == "bun":
            pen.blob(x, -0.8, 0.2 + 0.12 * length, 0.2 + 0.08 * length, color)
        elif self.style == "curly":
            reach = 0.03 + 0.1 * length
            for angle in np.radians(np.arange(165, 390, 30)):
                place = x + (rx + reach) * math.cos(angle), -0.14 + (ry - 0.06 + reach) * math.sin(angle)
                pen.blob(*place, 0.24, 0.24, color)

    def head(self) -> None:
        shade = _mix(self.skin, LIPS, 0.2)
        if self.style not in ("long", "bob"):  # these cover the ears
            for side in (-1, 1):
                self.pen.blob(side * self.rx - 0.06 * self.face.turn, 0.06, 0.11, 0.16, shade)
        for rx, ry, move, color in (
            (self.rx, self.ry, (0, 0), shade),
            (self.rx - 0.05, self.ry - 0.035, (0.045 * self.face.turn, -0.03), self.skin),
        ):
            egg = CIRCLE * (rx, ry)
            egg[:, 0] *= 1 - (0.1 + 0.2 * self.face.jaw) * CHIN  # narrows towards the chin
            self.pen.shape(egg + np.array(move), color)

    def hair_before(self) -> None:
        """A cap over the upper head whose lower edge, the hairline, opens at the parting."""
        face, rx, ry = self.face, self.rx, self.ry
        outer = arc(0, -0.06, rx + 0.06, ry, 172, 368)
        parting = 0.45 * face.parting + 0.15 * face.turn
        opening = 0.26 * np.exp(-(((ACROSS - parting) / 0.5) ** 2))
        hairline = np.stack([ACROSS * (rx + 0.03), -0.3 - opening + SIDE_LOCKS], axis=1)
        self.pen.shape(np.concatenate([outer, hairline]), self.hair)
        shine = arc(-0.05 + 0.1 * face.turn, -0.1, rx - 0.14, ry - 0.14, 222, 262)
        self.pen.stroke(shine, 0.055, _mix(self.hair, WHITE, 0.28))

    def eye(self, side: int, x: float, near: float) -> None:
        face, pen, surprised = self.face, self.pen, self.expression == "surprised"
        y = -0.04
        rx, ry = (0.115 + 0.035 * face.eye_size) * near, 0.14 + 0.04 * face.eye_size
        brow = _mix(self.hair, INK, 0.45)
        inner, outer = x - side * rx, x + side * rx
        if self.expression == "sleepy":
            pen.stroke(arc(x, y, rx, 0.09, 10, 170), 0.055, INK)
            pen.stroke(line((inner, y - 0.2), (outer, y - 0.17)), 0.045, brow)
            return
        ry *= 1.2 if surprised else 1
        pen.blob(x, y, rx, ry, WHITE)
        look, size = x + 0.035 * face.turn, 0.62 if surprised else 0.8
        pen.blob(look, y + 0.01, size * rx * 0.86, size * ry * 0.8, _ramp(EYES, face.eye_color))
        pen.blob(look, y + 0.01, size * rx * 0.48, size * ry * 0.46, INK)
        pen.blob(look - 0.03, y - 0.045, 0.026, 0.03, WHITE)
        top = y - ry
        lid = (inner, top - 0.04), (outer, top - 0.04)
        if self.expression == "happy":
            pen.stroke(arc(x, top, rx, 0.09, 200, 340), 0.05, brow)
        elif surprised:
            pen.stroke(arc(x, top - 0.05, rx, 0.11, 200, 340), 0.05, brow)
        elif self.expression == "angry":
            pen.shape(line(*lid, (outer, top + 0.015), (inner, y - 0.025)), self.skin)
            pen.stroke(line((inner - side * 0.03, y - 0.03), (outer, top - 0.01)), 0.085, brow)
        else:
            pen.shape(line(*lid, (outer, y), (inner, top)), self.skin)
            pen.stroke(line((inner, top - 0.07), (outer + side * 0.02, y - 0.09)), 0.05, brow)
            pen.blob(x + side * 0.03, y + ry + 0.08, 0.05, 0.09, TEAR)

    def mouth(self, x: float) -> None:
        pen, wide, y = self.pen, 0.22 + 0.08 * self.face.mouth_width, 0.4
        if self.expression == "happy":
            wide *= 1.12
            pen.shape(arc(x, y - 0.06, wide, 0.24, 0, 180), LIPS)
            pen.blob(x, y + 0.09, wide * 0.5, 0.08, TONGUE)
            teeth = ((x - wide * 0.9, y - 0.06), (x + wide * 0.9, y - 0.06), (x + wide * 0.8, y), (x - wide * 0.8, y))
            pen.shape(line(*teeth), WHITE)
        elif self.expression == "sad":
            pen.stroke(arc(x, y + 0.15, wide * 0.85, 0.17, 195, 345), 0.08, LIPS)
        elif self.expression == "surprised":
            pen.blob(x, y + 0.04, wide * 0.56, 0.18, LIPS)
            pen.blob(x, y + 0.12, wide * 0.34, 0.07, TONGUE)
        elif self.expression == "angry":
            box = line((x - wide * 0.9, y), (x + wide * 0.9, y), (x + wide, y + 0.14), (x - wide, y + 0.14))
            pen.shape(box, WHITE)
            pen.stroke(np.concatenate([box, box[:1]]), 0.05, LIPS)
        else:
            pen.blob(x, y + 0.06, wide * 0.32, 0.06, LIPS)

    def glasses(self, spacing: float) -> None:
        pen, y, r = self.pen, -0.03, 0.205
        for side in (-1, 1):
            near = 1 - 0.16 * side * self.face.turn
            x, w, h = side * spacing + self.turn, r * near, r * 0.86
            rim = line((x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h), (x - w, y - h))
            if GLASSES[self.face.glasses] == "round":
                rim = arc(x, y, w, r, 0, 360)
            pen.stroke(rim, 0.045, FRAME)
            pen.stroke(line((x + side * r * near, y - 0.04), (side * (self.rx - 0.02), y - 0.06)), 0.04, FRAME)
        gap = spacing - r
        pen.stroke(line((self.turn - gap, y - 0.04), (self.turn + gap, y - 0.04)), 0.04, FRAME)
