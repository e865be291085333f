"""Drawn scenes, a stand-in for photographs: shaded and textured things of all sizes before each other, and faces."""

import math

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from imaging.cartoon import draw_face
from imaging.demo import sample_face
from imaging.textures import Colors, Field, Random, noise, outline, palette, ramp, sizes, texture

WORLD = 2  # of the faces; the demo set is world 0
SHARE = 0.25  # of scenes with a face


def shading(random: Random, height: int, width: int) -> Field:
    """A smooth change of brightness, about 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = random.rand() * 7
    return 1 + random.uniform(0, 0.5) * (x * math.cos(angle) + y * math.sin(angle))


def surface(random: Random, height: int, width: int) -> Colors:
    """What a thing is covered with: one color, a gradient, clouds, or a texture."""
    kind, colors = random.rand(), palette(random)
    if kind < 0.3:
        found = np.ones((height, width, 1)) * colors[0]
    elif kind < 0.75:
        slow = noise(random, height, width, random.uniform(1.0, 2.2), random.uniform(0.2, 1.0))
        found = ramp(colors[:3], 0.5 + random.uniform(0.05, 0.35) * slow)
    else:
        found = texture(random, height, width)
    return found * shading(random, height, width)[..., None]


def scene(random: Random, height: int, width: int) -> Colors:
    """Several things before a background, float32 [H, W, 3] in [0, 1]; some are out of focus."""
    found = surface(random, height, width)
    side = min(height, width)
    count = random.randint(8, 30)
    covers = [surface(random, height, width) for _ in range(5)]
    for i, radius in enumerate(sorted(sizes(random, count, 0.09 * side, 0.6 * side), reverse=True)):
        mask = Image.new("L", (width, height))
        x, y = random.rand(2) * [width, height]
        corners, wobble = int(random.choice([3, 4, 5, 24])), random.uniform(0, 0.4)
        ImageDraw.Draw(mask).polygon(outline(random, corners, radius, x, y, wobble), 255)
        inside = gaussian_filter(np.asarray(mask, np.float32) / 255, random.choice([0.5, 0.7, 2.0]))[..., None]
        cover = np.roll(covers[i % 5], tuple(random.randint(side, size=2)), (0, 1)) * random.uniform(0.6, 1.3)
        found = found * (1 - inside) + inside * cover
    if random.rand() < SHARE:
        found = _with_face(random, found)
    return np.clip(found + random.uniform(0, 0.015) * random.randn(height, width, 1), 0, 1).astype(np.float32)


def _with_face(random: Random, behind: Colors) -> Colors:
    height, width = behind.shape[:2]
    face = np.asarray(draw_face(sample_face(WORLD, random.randint(2**31)), height, width), np.float32) / 255
    plain = np.abs(face - face[0, 0]).max(-1, keepdims=True) < 0.01
    return np.where(plain, behind, face * shading(random, height, width)[..., None])


def painting(random: Random, height: int, width: int) -> Colors:
    """What stands for the picture of a style: a texture, or a scene for one in three."""
    return (scene if random.rand() < 1 / 3 else texture)(random, height, width)
