"""How much the pictures of a sample sheet differ from one another, compared with real ones."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 16  # pixels: what is left of a tile; smaller things are texture, which a collapsed generator varies, too
FEWEST = 8  # pictures; the distances among fewer say little

Tiles = np.ndarray  # float32 [rows, columns, values]


def diversity(
    fakes: Image.Image, reals: Image.Image, columns: int, classes_of_rows: Sequence[int] = ()
) -> dict[str, float]:
    """Mean distances among the fakes of a sheet, as shares of those among the reals of a sheet of the same form.

    Args:
        fakes, reals: sheets of as many equal tiles.
        columns: tiles in a row.
        classes_of_rows: the class that each row shows; of fewer than two classes none is told by itself.

    Returns:
        `samples/diversity`: the mean distance of a pair, 1 where the fakes vary as the reals do, 0 where all are the
        same; `samples/diversity class 3`: the same within a class; `samples/nearest`: the mean distance of a picture
        to the one most like it, which falls where a few pictures are made again and again. None where there are too
        few different reals.
    """
    rows = len(classes_of_rows) or max(round(reals.height * columns / reals.width), 1)
    made, real = _tiles(fakes, columns, rows), _tiles(reals, columns, rows)
    found: dict[str, float] = {}
    pair, nearest = _shares(made, real)
    if pair is not None and nearest is not None:
        found |= {"samples/diversity": pair, "samples/nearest": nearest}
    for number in sorted(set(classes_of_rows)) if len(set(classes_of_rows)) > 1 else ():
        chosen = [row for row, of_row in enumerate(classes_of_rows) if of_row == number]
        pair, _ = _shares(made[chosen], real[chosen])
        if pair is not None:
            found[f"samples/diversity class {number}"] = pair
    return found


def _tiles(sheet: Image.Image, columns: int, rows: int) -> Tiles:
    pixels = np.asarray(sheet.resize((columns * SIDE, rows * SIDE), Image.Resampling.BOX), np.float32)
    parts = pixels.reshape(rows, SIDE, columns, SIDE, -1).transpose(0, 2, 1, 3, 4)
    return parts.reshape(rows, columns, -1)


def _shares(fakes: Tiles, reals: Tiles) -> tuple[float | None, float | None]:
    """Distances of pairs and of nearest ones, fakes' over reals'. Small data sets show a picture more than once."""
    real = np.unique(reals.reshape(-1, reals.shape[-1]), axis=0)
    if len(real) < FEWEST:
        return None, None
    fake = fakes.reshape(-1, fakes.shape[-1])[: len(real)]  # as many: among more, the nearest one is nearer
    (pair, nearest), (real_pair, real_nearest) = _distances(fake), _distances(real)
    return pair / real_pair, nearest / real_nearest


def _distances(points: np.ndarray) -> tuple[float, float]:
    """Mean Euclidean distances over all pairs, and of each point [N, D] to its nearest other."""
    points = points.astype(np.float64)
    products = points @ points.T  # [N, N]
    squares = np.diagonal(products)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))
    np.fill_diagonal(distances, np.inf)
    count = len(points)
    pairs = distances[~np.eye(count, dtype=bool)]
    return float(pairs.mean()), float(distances.min(axis=1).mean())
