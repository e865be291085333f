"""Mix the styles of two pictures: the coarse, middle or fine ones of one in place of the other's."""

import system.start  # noqa: F401 (first)

from math import isqrt

import click
from PIL import Image

from imaging.grid import GRID, LABELLED, LARGEST_SHEET, PAPER, save_image, sheet
from imaging.pixels import to_pil
from models.stylegan2.latents import layer_range, mix
from sampling.options import sampling_options, write_record
from sampling.sampler import Sampler
from torch_utils.cli import Command, SeedList, counted, option, progress, say

EXAMPLES = """
Examples:
  python style_mixing.py
  python style_mixing.py --rows 85,100,75 --cols 55,821 --styles middle --psi 0.7
  python style_mixing.py --rows 0-3 --cols 10-15 --styles 0-2,5
"""

Pair = tuple[int, int]  # row's seed, column's seed; of a picture by itself twice its own


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options()
@option("--rows", type=SeedList(), default="0-3", group="Pictures", help="seeds whose styles are replaced")
@option("--cols", type=SeedList(), default="10-14", group="Pictures", help="seeds that the styles come from")
@option("--styles", default="coarse", group="Pictures", help="layers: coarse, middle, fine or numbers such as 0-6")
def main(sampler: Sampler, rows: list[int], cols: list[int], styles: str) -> None:
    """Mix styles (Karras et al. 2019, figure 3): ROW-COL.png is the row's picture with the column's styles.

    ROW-ROW.png and COL-COL.png are the pictures themselves; grid.png shows all, with the columns' in its first row and
    the rows' in its first column.
    """
    _check_grid(sampler, len(rows), len(cols))
    layers = _layers(styles, sampler.G.config.num_ws)
    seeds = list(dict.fromkeys(rows + cols))
    ws = dict(zip(seeds, sampler.ws(seeds), strict=True))
    pairs = list(dict.fromkeys([(seed, seed) for seed in seeds] + [(row, col) for row in rows for col in cols]))
    mixed = (mix(ws[row][None], ws[col][None], layers)[0] for row, col in pairs)
    made = sampler.pixels(mixed, [row for row, _ in pairs])
    pictures: dict[Pair, Image.Image] = {}
    for pair, pixels in progress(zip(pairs, made, strict=True), len(pairs), "pictures"):
        pictures[pair] = to_pil(pixels)
        save_image(pictures[pair], sampler.outdir / f"{pair[0]}-{pair[1]}.png")
    save_image(_grid(pictures, rows, cols), sampler.outdir / GRID)
    write_record("style_mixing", sampler)
    say(f"wrote {counted(len(pairs), 'picture')}, {GRID} and style_mixing.json to {sampler.outdir}")


def _check_grid(sampler: Sampler, rows: int, cols: int) -> None:
    height, width = max(sampler.G.config.height, LABELLED[0]), max(sampler.G.config.width, LABELLED[1])
    most = LARGEST_SHEET // (height * width)
    tiles = (rows + 1) * (cols + 1)
    if tiles > most:
        side = isqrt(most) - 1
        raise ValueError(
            f"--rows and --cols ask for a grid of {tiles} pictures, and at most {most} of this size fit on one: "
            f"take fewer seeds, such as {side} rows and {side} columns"
        )


def _layers(styles: str, num_ws: int) -> list[int]:
    try:
        return layer_range(styles, num_ws)
    except ValueError as error:
        raise ValueError(f"--styles: {error}") from error


def _grid(pictures: dict[Pair, Image.Image], rows: list[int], cols: list[int]) -> Image.Image:
    """The sheet: the columns' pictures in its first row, the rows' in its first column, each with its seed."""
    corner = Image.new("RGB", pictures[rows[0], rows[0]].size, PAPER)  # belongs to no seed
    tiles = [[corner, *(pictures[col, col] for col in cols)]]
    tiles += [[pictures[row, row], *(pictures[row, col] for col in cols)] for row in rows]
    return sheet(tiles, ["", *(f"seed {row}" for row in rows)], ["", *(f"seed {col}" for col in cols)])


if __name__ == "__main__":
    main()
