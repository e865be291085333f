"""Show the effect of truncation: the same seeds at several values of psi."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

import click

from imaging.grid import check_sheet, save_image, sheet
from models.stylegan2.choices import TRUNCATION_AND_NOISE, StyleOptions
from sampling.command import Opened, options, sampling_options, write_record
from sampling.stylegan2 import pictures as drawing
from torch_utils.cli import Command, FloatList, counted, say

EXAMPLES = """
Examples:
  python truncation.py
  python truncation.py --seeds 0-5 --psis -1:1:0.5
  python truncation.py --seeds 85,265 --psis 0.5,0.7,1 --psi-cutoff 8
"""
SHEET = "truncation.png"


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-5", model=StyleOptions, names=TRUNCATION_AND_NOISE[1:])
@options("Pictures", ("--psis", FloatList(), "-1:1:0.5", "1 full variety, 0 the average image, below 0 its opposite"))
def main(opened: Opened, seeds: list[int], psis: list[float]) -> None:
    """Show truncation (Karras et al. 2019, figure 8): w pulled towards its average, which trades variety for quality.

    Writes seed0000-psi+0.5.png and so on, and all on one sheet, truncation.png.
    """
    sampler = drawing.styles(opened)
    check_sheet(len(seeds) * len(psis), sampler.shape[:2], "--seeds and --psis")
    pairs = [(request, psi) for request in opened.requests(seeds) for psi in psis]
    ws = (sampler.ws([request], psi)[0] for request, psi in pairs)
    names = [f"{request.name}-psi{psi:+}" for request, psi in pairs]
    pictures = list(drawing.draw_pictures(opened, ws, [request for request, _ in pairs], names))
    labels = [f"psi {drawing.signed(psi).lstrip('+')}" for psi in psis]
    labeled = sheet(drawing.in_rows(pictures, len(psis)), [f"seed {seed}" for seed in seeds], labels)
    save_image(labeled, opened.outdir / SHEET)
    write_record("truncation", opened)
    say(f"wrote {counted(len(set(names)), 'picture')}, {SHEET} and truncation.json to {opened.outdir}")


if __name__ == "__main__":
    main()
