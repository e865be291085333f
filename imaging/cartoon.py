"""How a `Face` is drawn: large clean shapes in few colors, which a small network can learn."""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from imaging.faces import EXPRESSIONS, GLASSES, HAIR_STYLES, Face
from imaging.pen import CIRCLE, Color, Pen, Points, arc, line

SKIN = ((255, 226, 204), (246, 203, 166), (222, 164, 120), (174, 118, 82), (126, 84, 62))
HAIR = ((38, 32, 44), (92, 54, 40), (158, 74, 42), (222, 136, 58), (244, 206, 116))
EYES = ((84, 52, 34), (78, 122, 62), (52, 124, 176))
INK, WHITE, FRAME = (44, 34, 44), (255, 255, 255), (60, 52, 72)
LIPS, TONGUE, BLUSH, TEAR = (146, 28, 56), (236, 108, 116), (240, 96, 96), (96, 180, 244)

CHIN = np.maximum(CIRCLE[:, 1], 0) ** 1.5  # how far down the head, at each point of a circle
ACROSS = np.linspace(1, -1, 24)  # the hairline, from the right to the left
SIDE_LOCKS = 0.22 * np.maximum(np.abs(ACROSS) - 0.72, 0) / 0.28


def draw_face(face: Face, height: int, width: int) -> Image.Image:
    """An RGB image of `height` x `width` pixels with smooth edges."""
    fine = 4 if min(height, width) <= 64 else 2  # drawn larger, then averaged
    backdrop, wall = _background(face)
    canvas = Image.new("RGB", (width * fine, height * fine), backdrop)
    pen = Pen(canvas, min(height, width) * fine / 2)
    pen.blob(0, 0.1, 0.94, 0.94, wall)
    pen.place(0.1 * face.shift, 0.08, 0.21 * face.tilt, 1.08)
    _draw_hair_behind(pen, face)
    _draw_body(pen, face)
    _draw_head(pen, face)
    _draw_hair_before(pen, face)
    _draw_features(pen, face)
    return canvas.reduce(fine)


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


def _background(face: Face) -> tuple[Color, Color]:
    return _hue(face.background, 0.42, 0.86), _hue(face.background, 0.28, 0.97)


def _head_radii(face: Face) -> tuple[float, float]:
    return 0.54 + 0.1 * face.head_width, 0.68


def _draw_body(pen: Pen, face: Face) -> None:
    skin = _ramp(SKIN, face.skin)
    pen.blob(0, 1.18, 0.78, 0.46, _hue(face.background + 0.45, 0.55, 0.72))
    pen.shape(line((-0.2, 0.4), (0.2, 0.4), (0.24, 0.84), (0, 0.96), (-0.24, 0.84)), _mix(skin, LIPS, 0.32))


def _draw_head(pen: Pen, face: Face) -> None:
    rx, ry = _head_radii(face)
    skin = _ramp(SKIN, face.skin)
    shade = _mix(skin, LIPS, 0.2)
    if HAIR_STYLES[face.hair_style] not in ("long", "bob"):  # these cover the ears
        for side in (-1, 1):
            pen.blob(side * rx - 0.06 * face.turn, 0.06, 0.11, 0.16, shade)
    pen.shape(_head(rx, ry, face.jaw), shade)
    lit = _head(rx - 0.05, ry - 0.035, face.jaw)
    pen.shape(lit + np.array([0.045 * face.turn, -0.03]), skin)


def _head(rx: float, ry: float, jaw: float) -> Points:
    """An egg that narrows towards the chin."""
    egg = CIRCLE * (rx, ry)
    egg[:, 0] *= 1 - (0.1 + 0.2 * jaw) * CHIN
    return egg


def _draw_hair_behind(pen: Pen, face: Face) -> None:
    rx, ry = _head_radii(face)
    color = _mix(_ramp(HAIR, face.hair_color), INK, 0.25)
    style = HAIR_STYLES[face.hair_style]
    x = -0.05 * face.turn
    if style in ("long", "bob"):
        bottom = (0.75 + 0.4 * face.hair_length) if style == "long" else (0.28 + 0.3 * face.hair_length)
        flare = 0.12 if style == "long" else 0.2
        crown = arc(x, -0.1, rx + 0.13, ry * 0.98, 180, 360)
        ends = line((x + rx + flare, bottom - 0.1), (x + rx, bottom), (x - rx, bottom), (x - rx - flare, bottom - 0.1))
        pen.shape(np.concatenate([crown, ends]), color)
    elif style == "bun":
        pen.blob(x, -0.8, 0.2 + 0.12 * face.hair_length, 0.2 + 0.08 * face.hair_length, color)
    elif style == "curly":
        reach = 0.03 + 0.1 * face.hair_length
        for angle in np.radians(np.arange(165, 390, 30)):
            pen.blob(
                x + (rx + reach) * math.cos(angle), -0.14 + (ry - 0.06 + reach) * math.sin(angle), 0.24, 0.24, color
            )


def _draw_hair_before(pen: Pen, face: Face) -> None:
    """A cap over the upper head whose lower edge, the hairline, opens at the parting."""
    rx, ry = _head_radii(face)
    color = _ramp(HAIR, face.hair_color)
    outer = arc(0, -0.06, rx + 0.06, ry, 172, 368)
    parting = 0.45 * face.parting + 0.15 * face.turn
    opening = 0.26 * np.exp(-(((ACROSS - parting) / 0.5) ** 2))
    hairline = np.stack([ACROSS * (rx + 0.03), -0.3 - opening + SIDE_LOCKS], axis=1)
    pen.shape(np.concatenate([outer, hairline]), color)
    pen.stroke(arc(-0.05 + 0.1 * face.turn, -0.1, rx - 0.14, ry - 0.14, 222, 262), 0.055, _mix(color, WHITE, 0.28))


def _draw_features(pen: Pen, face: Face) -> None:
    """Eyes, brows, cheeks, nose and mouth glide over the head as it turns."""
    turn = 0.12 * face.turn
    skin = _ramp(SKIN, face.skin)
    spacing = 0.23 + 0.05 * face.eye_spacing
    expression = EXPRESSIONS[face.expression]
    blush = _mix(skin, BLUSH, {"happy": 0.4, "angry": 0.45}.get(expression, 0.18))
    for side in (-1, 1):
        near = 1 - 0.16 * side * face.turn  # the side turned away looks narrower
        pen.blob(side * (spacing + 0.07) + turn, 0.23, 0.12 * near, 0.08, blush)
        _draw_eye(pen, face, side, side * spacing + turn, near)
    pen.stroke(arc(1.35 * turn, 0.15, 0.05, 0.05, 20, 160), 0.04, _mix(skin, LIPS, 0.5))
    _draw_mouth(pen, face, 1.1 * turn)
    if face.glasses:
        _draw_glasses(pen, face, spacing, turn)


def _draw_eye(pen: Pen, face: Face, side: int, x: float, near: float) -> None:
    expression = EXPRESSIONS[face.expression]
    y = -0.04
    rx, ry = (0.115 + 0.035 * face.eye_size) * near, 0.14 + 0.04 * face.eye_size
    brow = _mix(_ramp(HAIR, face.hair_color), INK, 0.45)
    skin = _ramp(SKIN, face.skin)
    inner, outer = x - side * rx, x + side * rx
    if expression == "sleepy":
        pen.stroke(arc(x, y, rx, 0.09, 10, 170), 0.055, INK)
        pen.stroke(line((inner, y - 0.2), (outer, y - 0.17)), 0.045, brow)
        return
    if expression == "surprised":
        ry *= 1.2
    pen.blob(x, y, rx, ry, WHITE)
    look = x + 0.035 * face.turn
    size = 0.62 if expression == "surprised" else 0.8
    pen.blob(look, y + 0.01, size * rx * 0.86, size * ry * 0.8, _ramp(EYES, face.eye_color))
    pen.blob(look, y + 0.01, size * rx * 0.48, size * ry * 0.46, INK)
    pen.blob(look - 0.03, y - 0.045, 0.026, 0.03, WHITE)
    top = y - ry
    if expression == "happy":
        pen.stroke(arc(x, top, rx, 0.09, 200, 340), 0.05, brow)
    elif expression == "surprised":
        pen.stroke(arc(x, top - 0.05, rx, 0.11, 200, 340), 0.05, brow)
    elif expression == "angry":
        lid = line((inner, top - 0.04), (outer, top - 0.04), (outer, top + 0.015), (inner, y - 0.025))
        pen.shape(lid, skin)
        pen.stroke(line((inner - side * 0.03, y - 0.03), (outer, top - 0.01)), 0.085, brow)
    else:
        lid = line((inner, top - 0.04), (outer, top - 0.04), (outer, y), (inner, top))
        pen.shape(lid, skin)
        pen.stroke(line((inner, top - 0.07), (outer + side * 0.02, y - 0.09)), 0.05, brow)
        pen.blob(x + side * 0.03, y + ry + 0.08, 0.05, 0.09, TEAR)


def _draw_mouth(pen: Pen, face: Face, x: float) -> None:
    expression = EXPRESSIONS[face.expression]
    wide = 0.22 + 0.08 * face.mouth_width
    y = 0.4
    if expression == "happy":
        wide *= 1.12
        pen.shape(arc(x, y - 0.06, wide, 0.24, 0, 180), LIPS)
        pen.blob(x, y + 0.09, wide * 0.5, 0.08, TONGUE)
        teeth = ((x - wide * 0.9, y - 0.06), (x + wide * 0.9, y - 0.06), (x + wide * 0.8, y), (x - wide * 0.8, y))
        pen.shape(line(*teeth), WHITE)
    elif expression == "sad":
        pen.stroke(arc(x, y + 0.15, wide * 0.85, 0.17, 195, 345), 0.08, LIPS)
    elif expression == "surprised":
        pen.blob(x, y + 0.04, wide * 0.56, 0.18, LIPS)
        pen.blob(x, y + 0.12, wide * 0.34, 0.07, TONGUE)
    elif expression == "angry":
        box = line((x - wide * 0.9, y), (x + wide * 0.9, y), (x + wide, y + 0.14), (x - wide, y + 0.14))
        pen.shape(box, WHITE)
        pen.stroke(np.concatenate([box, box[:1]]), 0.05, LIPS)
    else:
        pen.blob(x, y + 0.06, wide * 0.32, 0.06, LIPS)


def _draw_glasses(pen: Pen, face: Face, spacing: float, turn: float) -> None:
    y, r = -0.03, 0.205
    for side in (-1, 1):
        near = 1 - 0.16 * side * face.turn
        x = side * spacing + turn
        if GLASSES[face.glasses] == "round":
            rim = arc(x, y, r * near, r, 0, 360)
        else:
            w, h = r * near, r * 0.86
            rim = line((x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h), (x - w, y - h))
        pen.stroke(rim, 0.045, FRAME)
        pen.stroke(line((x + side * r * near, y - 0.04), (side * (_head_radii(face)[0] - 0.02), y - 0.06)), 0.04, FRAME)
    gap = spacing - r
    pen.stroke(line((turn - gap, y - 0.04), (turn + gap, y - 0.04)), 0.04, FRAME)
