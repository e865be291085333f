"""Mix the styles of two pictures: the coarse, middle or fine ones of one in place of the other's."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

import click
from PIL import Image

from imaging.grid import GRID, PAPER, check_sheet, save_image, sheet
from models.stylegan2 import latents
from models.stylegan2.choices import TRUNCATION_AND_NOISE, StyleOptions
from sampling.command import Opened, options, sampling_options, write_record
from sampling.stylegan2 import pictures as drawing
from torch_utils.cli import Command, SeedList, counted, say

EXAMPLES = """
Examples:
  python style_mixing.py
  python style_mixing.py --rows 85,100,75 --cols 55,821 --styles middle --psi 0.7
  python style_mixing.py --rows 0-3 --cols 10-15 --styles 0-2,5
"""


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(model=StyleOptions, names=TRUNCATION_AND_NOISE)
@options(
    "Pictures",
    ("--rows", SeedList(), "0-3", "seeds whose styles are replaced"),
    ("--cols", SeedList(), "10-14", "seeds that the styles come from"),
    ("--styles", "LAYERS", "coarse", "layers: coarse, middle, fine or numbers such as 0-6"),
)
def main(opened: Opened, rows: list[int], cols: list[int], styles: str) -> None:
    """Mix styles (Karras et al. 2019, figure 3): ROW-COL.png is the row's picture with the column's styles.

    ROW-ROW.png and COL-COL.png are the pictures themselves. grid.png shows all: the columns' own pictures in its first
    row, the rows' own in its first column.
    """
    sampler = drawing.styles(opened)
    check_sheet((len(rows) + 1) * (len(cols) + 1), sampler.shape[:2], "--rows and --cols")
    layers = latents.layer_range(styles, sampler.G.config.num_ws, "--styles")
    seeds = list(dict.fromkeys(rows + cols))
    requests = dict(zip(seeds, opened.requests(seeds), strict=True))
    ws = {seed: sampler.ws([request]) for seed, request in requests.items()}  # [1, L, D] each
    # A row's seed and a column's; twice its own for a picture by itself.
    pairs = list(dict.fromkeys([(seed, seed) for seed in seeds] + [(row, col) for row in rows for col in cols]))
    mixed = (latents.mix(ws[row], ws[col], layers)[0] for row, col in pairs)
    made = drawing.draw_pictures(
        opened, mixed, [requests[row] for row, _ in pairs], [f"{row}-{col}" for row, col in pairs]
    )
    pictures = dict(zip(pairs, made, strict=True))
    corner = Image.new("RGB", pictures[pairs[0]].size, PAPER)  # belongs to no seed
    tiles = [[corner, *(pictures[col, col] for col in cols)]]
    tiles += [[pictures[row, row], *(pictures[row, col] for col in cols)] for row in rows]
    labeled = sheet(tiles, ["", *(f"seed {row}" for row in rows)], ["", *(f"seed {col}" for col in cols)])
    save_image(labeled, opened.outdir / GRID)
    write_record("style_mixing", opened)
    say(f"wrote {counted(len(pairs), 'picture')}, {GRID} and style_mixing.json to {opened.outdir}")


if __name__ == "__main__":
    main()
