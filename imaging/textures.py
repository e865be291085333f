"""Drawn textures of many kinds, a stand-in for paintings: what a style is, without its pictures.

Every texture is a function of a numpy RandomState, whose stream is frozen. Colors are float32 [H, W, 3] in [0, 1].
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, map_coordinates

Random = np.random.RandomState
Field = np.ndarray  # float32 [H, W]
Colors = np.ndarray  # float32 [H, W, 3], or [colors, 3]

FINE = 2  # shapes are drawn this many times as large, so that their edges are smooth


def palette(random: Random, count: int = 5) -> Colors:
    """Colors that go together: hues near one or two, of one range of saturation and of brightness; some are gray."""
    hue = random.rand() + random.choice([0.0, 0.5], count) * (random.rand() < 0.5)
    hue = hue + random.uniform(0.02, 0.3) * random.randn(count)
    saturation = np.clip(random.beta(1.2, 1.8) + 0.15 * random.randn(count), 0, 1) * (random.rand() > 0.12)
    low, high = sorted(random.rand(2))
    value = np.linspace(low * 0.7, high + (1 - high) * random.rand(), count)
    bands = np.clip(np.abs((hue[:, None] * 6 + [0, 4, 2]) % 6 - 3) - 1, 0, 1)  # HSV -> RGB
    colors = value[:, None] * (1 + saturation[:, None] * (bands - 1))
    return np.clip(random.permutation(colors), 0, 1).astype(np.float32)


def noise(random: Random, height: int, width: int, slope: float, longest: float = 1.0) -> Field:
    """Noise whose amplitude falls with frequency^-slope, with deviation 1; `longest` waves as a share of the side."""
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.sqrt(down**2 + right**2)
    least = 1 / (longest * max(height, width))
    spectrum = np.fft.rfft2(random.randn(height, width)) / np.maximum(frequency, least) ** slope
    spectrum[frequency < least * 0.5] = 0
    found = np.fft.irfft2(spectrum, (height, width))
    return ((found - found.mean()) / (found.std() + 1e-9)).astype(np.float32)


def ramp(colors: Colors, place: Field) -> Colors:
    """Colors at places 0 to 1 along a palette."""
    at = np.clip(place, 0, 1) * (len(colors) - 1)
    below = np.minimum(at.astype(int), len(colors) - 2)
    share = (at - below)[..., None]
    return colors[below] * (1 - share) + colors[below + 1] * share


def canvas(color: Colors, height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width * FINE, height * FINE), ink(color))
    return image, ImageDraw.Draw(image)


def finished(image: Image.Image) -> Colors:
    return np.asarray(image.reduce(FINE), dtype=np.float32) / 255


def ink(color: Colors) -> tuple[int, int, int]:
    red, green, blue = (int(255 * min(max(float(each), 0), 1)) for each in color)
    return red, green, blue


def sizes(random: Random, count: int, least: float, most: float) -> np.ndarray:
    """Radii with a density of r^-3, as of objects in photographs (Lee, Mumford and Huang 2001)."""
    return least / np.sqrt(1 - random.rand(count) * (1 - (least / most) ** 2))


def outline(random: Random, corners: int, radius: float, x: float, y: float, wobble: float) -> list[float]:
    """A shape around a point: corners at about the same distance, flat to (x0, y0, x1, y1, ...)."""
    angles = random.rand() * 7 + np.arange(corners) * (2 * math.pi / corners)
    radii = radius * (1 + wobble * random.uniform(-1, 1, corners))
    flat = random.uniform(0.4, 1)
    return np.stack([x + radii * np.cos(angles), y + flat * radii * np.sin(angles)], 1).ravel().tolist()


def leaves(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Overlapping shapes of many sizes."""
    image, pen = canvas(colors[0], height, width)
    corners = int(random.choice([3, 4, 4, 6, 14]))
    least, wobble, spread = random.uniform(2, 14), random.uniform(0, 0.5), random.uniform(0, 0.2)
    rim = ink(colors[1] * 0.3) if random.rand() < 0.3 else None
    count = min(int(3 * height * width / least**2), 500)
    for radius in sizes(random, count, least, least * random.uniform(2, 10)):
        x, y = random.rand(2) * [width, height]
        color = ink(colors[random.randint(len(colors))] + spread * random.randn(3))
        pen.polygon(outline(random, corners, radius * FINE, x * FINE, y * FINE, wobble), color, rim, 2)
    return finished(image)


def flow(random: Random, height: int, width: int) -> Field:
    """Angles that change slowly over the picture."""
    field = noise(random, height, width, 2.0, random.uniform(0.3, 1.0))
    return random.rand() * math.pi + random.uniform(0, 1.2) * field


def strokes(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Strokes of a brush along a field of directions, over a picture of slow colors."""
    image, pen = canvas(colors[0], height, width)
    thick = random.uniform(1.5, 9)
    length, spread = thick * random.uniform(2, 8), random.uniform(0.02, 0.15)
    angles = flow(random, height, width)
    under = ramp(colors, 0.5 + 0.35 * noise(random, height, width, 1.5, random.uniform(0.15, 0.6)))
    count = min(int(5 * height * width / (thick * length)), 900)
    starts = random.rand(count, 2) * [height, width]
    shades = spread * random.randn(count, 1) + 0.5 * spread * random.randn(count, 3)
    for (y, x), shade in zip(starts, shades, strict=True):
        color = ink(under[int(y), int(x)] + shade)
        points = [(x * FINE, y * FINE)]
        for _ in range(3):
            angle = angles[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)]
            x, y = x + math.cos(angle) * length / 3, y + math.sin(angle) * length / 3
            points.append((x * FINE, y * FINE))
        pen.line(points, color, max(int(thick * FINE * random.uniform(0.5, 1.2)), 1))
    return finished(image)


def hatching(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Lines of ink in one to three directions, denser where a slow field is dark."""
    paper, pencil = (colors[0] * 0.3 + 0.7, colors[1] * 0.4) if random.rand() < 0.7 else (colors[1] * 0.3, colors[0])
    image, pen = canvas(paper, height, width)
    dark = noise(random, height, width, 2.0, random.uniform(0.3, 1.0))
    gap, thick, length = random.uniform(2.5, 8), random.randint(1, 4), random.uniform(8, 50)
    for layer in range(random.randint(1, 4)):
        angle = random.rand() * math.pi
        step = np.array([math.cos(angle), math.sin(angle)]) * length / 2
        count = min(int(1.5 * height * width / (gap * length)), 600)
        for x, y in random.rand(count, 2) * [width, height]:
            if dark[int(y), int(x)] > layer * 0.6 - 0.5:
                (a, b), (c, d) = np.array([x, y]) - step, np.array([x, y]) + step + random.randn(2)
                color = ink(pencil + 0.1 * random.randn())
                pen.line([a * FINE, b * FINE, c * FINE, d * FINE], color, int(thick))
    return finished(image)


def waves(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Stripes, checks and rings: soft or hard, straight or bent."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = random.rand() * math.pi, random.uniform(4, 40)
    bend = random.choice([0.0, 1.0]) * random.uniform(0, 0.5) * period
    x, y = (each + bend * noise(random, height, width, 2.0, 0.5) for each in (x, y))
    u = (x * math.cos(angle) + y * math.sin(angle)) / period
    v = (y * math.cos(angle) - x * math.sin(angle)) / (period * random.uniform(0.5, 2))
    kind = random.randint(4)
    if kind == 0:
        value = np.sin(2 * math.pi * u)
    elif kind == 1:
        value = np.sin(2 * math.pi * u) * np.sin(2 * math.pi * v)
    elif kind == 2:
        value = np.maximum(np.sin(2 * math.pi * u), np.sin(2 * math.pi * v)) * 2 - 1
    else:
        value = np.sin(2 * math.pi * np.hypot(u - random.rand() * 3, v - random.rand() * 3))
    sharp = random.uniform(0.5, 8)
    place = 0.5 + 0.5 * np.tanh(sharp * value) + 0.15 * noise(random, height, width, 1.5)
    return ramp(colors[: random.randint(2, len(colors) + 1)], place)


def dots(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Dots on a grid or anywhere, as of pointillists and of print."""
    image, pen = canvas(colors[0], height, width)
    gap = random.uniform(4, 16)
    loose, fill = random.choice([0.0, 0.5, 2.0]), random.uniform(0.25, 0.65)
    tone = noise(random, height, width, 2.0, random.uniform(0.3, 1.0))
    slow = ramp(colors, 0.5 + 0.35 * noise(random, height, width, 1.5, 0.4))
    cos, sin = math.cos(turn := random.rand() * 2), math.sin(turn)
    reach = int(0.75 * (height + width) / gap)
    grid = np.mgrid[-reach:reach, -reach:reach].reshape(2, -1).T * gap + loose * gap * random.randn(4 * reach**2, 2) / 2
    places = grid @ np.array([[cos, -sin], [sin, cos]]) + [height / 2, width / 2]
    for y, x in places[((places > 0) & (places < [height, width])).all(1)][:1200]:
        radius = gap * fill * max(0.4 + 0.35 * tone[int(y), int(x)], 0.15) * FINE * 1.4
        box = [x * FINE - radius, y * FINE - radius, x * FINE + radius, y * FINE + radius]
        pen.ellipse(box, ink(slow[int(y), int(x)] + 0.08 * random.randn(3)))
    return finished(image)


def cells(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Voronoi cells, with joints or without: mosaics, glass, scales."""
    size = random.uniform(7, 30)
    count = max(min(int(height * width / size**2), 120), 4)
    points = (random.rand(count, 2) * [height, width]).astype(np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    flat = random.uniform(0.5, 2)
    distances = np.hypot(y[..., None] - points[:, 0], flat * (x[..., None] - points[:, 1]))
    nearest = distances.argmin(-1)
    two = np.partition(distances, 1, axis=-1)[..., :2]
    tints = colors[random.randint(len(colors), size=count)] + 0.06 * random.randn(count, 3)
    shade = 1 - random.choice([0.0, 0.5]) * (two[..., :1] / size)
    joint = np.clip((two[..., 1] - two[..., 0]) / random.uniform(0.5, 4), 0, 1)[..., None]
    joint = np.where(random.rand() < 0.6, joint, 1)
    return tints[nearest] * shade * joint + (1 - joint) * colors[0] * random.choice([0.1, 1.0])


def marble(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Noise bent by noise, as of marble, clouds and wood; smooth or in bands."""
    field = noise(random, height, width, random.uniform(0.6, 2.2), random.uniform(0.1, 0.6))
    shift = random.uniform(0, 0.15) * height
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bends = [noise(random, height, width, 2.0, random.uniform(0.2, 0.8)) * shift for _ in range(2)]
    field = map_coordinates(field, [y + bends[0], x + bends[1]], order=1, mode="reflect")
    place = 0.5 + 0.3 * field
    if random.rand() < 0.4:
        place = 0.5 + 0.5 * np.sin(random.uniform(3, 12) * field)
    if random.rand() < 0.3:
        place = np.round(place * 4) / 4
    return ramp(colors, place)


def glyphs(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Rows of small signs."""
    image, pen = canvas(colors[0], height, width)
    size, thick = random.uniform(6, 24) * FINE, random.randint(1, 7)
    alphabet = [random.rand(random.randint(3, 7), 2) for _ in range(12)]
    several = random.rand() < 0.5
    for row in range(int(height * FINE / size) + 1):
        for column in range(int(width * FINE / size) + 1):
            sign = (alphabet[random.randint(12)] * 0.8 + [column, row] + 0.1 * random.randn(2)) * size
            pen.line([tuple(point) for point in sign], ink(colors[random.randint(1, 5) if several else 1]), thick)
    return finished(image)


def watercolor(random: Random, height: int, width: int, colors: Colors) -> Colors:
    """Transparent blots with dark rims on paper."""
    found = np.ones((height, width, 3), np.float32) * (0.85 + 0.15 * colors[0])
    scale, soft = random.uniform(0.15, 0.6), random.uniform(0.3, 3)
    for color in colors[random.randint(len(colors), size=random.randint(4, 8))]:
        field = gaussian_filter(noise(random, height, width, 1.8, scale), soft) - random.uniform(-0.2, 0.8)
        inside = 1 / (1 + np.exp(np.clip(-field * 12 / soft, -30, 30)))
        depth = (0.6 * inside + 0.5 * np.exp(-((field * 8 / soft) ** 2)) * inside)[..., None]
        found = found * (1 - depth * (1 - color))
    return found


KINDS: tuple[Callable[[Random, int, int, Colors], Colors], ...] = (
    leaves,
    strokes,
    strokes,
    hatching,
    waves,
    dots,
    cells,
    marble,
    glyphs,
    watercolor,
)


def texture(random: Random, height: int, width: int) -> Colors:
    """A texture of a random kind and scale in random colors; some have the surface of paper, canvas or grain."""
    colors, zoom = palette(random), random.uniform(1, 2.5)
    least = max(round(height / zoom), 1), max(round(width / zoom), 1)
    found = KINDS[random.randint(len(KINDS))](random, *least, colors)
    drawn = Image.fromarray((np.clip(found, 0, 1) * 255).astype(np.uint8))
    found = np.asarray(drawn.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    if random.rand() < 0.2:
        grain = noise(random, height, width, random.uniform(0.3, 1), 0.2)
        found = found + random.uniform(0.02, 0.08) * grain[..., None]
    return np.clip(found, 0, 1).astype(np.float32)
