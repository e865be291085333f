"""How much the pictures of a sample sheet differ from one another, compared with real ones."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 16  # pixels that a tile is reduced to: smaller detail is texture, which varies even in a collapsed model
FEWEST = 8  # pictures; distances among fewer say little

Tiles = np.ndarray  # float32 [rows, columns, values]


def diversity(
    samples: Image.Image, reals: Image.Image, columns: int, classes_of_rows: Sequence[int] = ()
) -> dict[str, float]:
    """Mean distances among the samples of a sheet, divided by those among the reals of a sheet of the same form.

    Args:
        samples, reals: sheets of equally many tiles of one size.
        columns: tiles in a row.
        classes_of_rows: the class that each row shows.

    Returns:
        `samples/diversity`: the mean distance of a pair; 1 if samples vary as reals do, 0 if all are the same.
        `samples/diversity class 3`: the same within a class, if there are several.
        `samples/nearest`: the mean distance of a picture to the one most like it; low if a few pictures are repeated.
        Empty if there are too few different reals.
    """
    rows = len(classes_of_rows) or max(round(reals.height * columns / reals.width), 1)
    made, real = _tiles(samples, columns, rows), _tiles(reals, columns, rows)
    found: dict[str, float] = {}
    if ratios := _ratios(made, real):
        found |= {"samples/diversity": ratios[0], "samples/nearest": ratios[1]}
    classes = sorted(set(classes_of_rows))
    for number in classes if len(classes) > 1 else ():
        chosen = [row for row, of_row in enumerate(classes_of_rows) if of_row == number]
        if ratios := _ratios(made[chosen], real[chosen]):
            found[f"samples/diversity class {number}"] = ratios[0]
    return found


def _tiles(sheet: Image.Image, columns: int, rows: int) -> Tiles:
    pixels = np.asarray(sheet.resize((columns * SIDE, rows * SIDE), Image.Resampling.BOX), np.float32)
    parts = pixels.reshape(rows, SIDE, columns, SIDE, -1).transpose(0, 2, 1, 3, 4)
    return parts.reshape(rows, columns, -1)


def _ratios(samples: Tiles, reals: Tiles) -> tuple[float, float] | None:
    """Ratios of the distances of pairs and of nearest pictures. A small data set shows a real more than once."""
    real = np.unique(reals.reshape(-1, reals.shape[-1]), axis=0)
    if len(real) < FEWEST:
        return None
    made = samples.reshape(-1, samples.shape[-1])[: len(real)]  # equally many: among more, the nearest is nearer
    (pair, nearest), (real_pair, real_nearest) = _distances(made), _distances(real)
    return pair / real_pair, nearest / real_nearest


def _distances(points: np.ndarray) -> tuple[float, float]:
    """Mean Euclidean distances over all pairs of points [N, D], and of each point to its nearest other."""
    points = points.astype(np.float64)
    products = points @ points.T  # [N, N]
    squares = np.diagonal(products)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))
    nearest = (distances + np.diag(np.full(len(points), np.inf))).min(axis=1)
    return float(distances.sum() / (len(points) * (len(points) - 1))), float(nearest.mean())
