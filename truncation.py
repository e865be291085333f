"""Show what truncation does: the same seeds at several values of psi."""

import system.start  # noqa: F401 (first)

import click
from PIL import Image

from imaging.grid import LABELLED, LARGEST_SHEET, save_image, sheet
from imaging.pixels import to_pil
from sampling.options import sampling_options, write_record
from sampling.sampler import Sampler
from torch_utils.cli import Command, FloatList, counted, option, progress, say

EXAMPLES = """
Examples:
  python truncation.py
  python truncation.py --seeds 0-5 --psis -1:1:0.5
  python truncation.py --seeds 85,265 --psis 0.5,0.7,1 --psi-cutoff 8
"""
SHEET = "truncation.png"


@click.command(cls=Command, epilog=EXAMPLES)
@sampling_options(seeds="0-5", psi=False)
@option(
    "--psis",
    type=FloatList(),
    default="-1:1:0.5",
    group="Pictures",
    help="values of psi: 1 full variety, 0 the average image, below 0 its opposite; FROM:TO:STEP or a list",
)
def main(sampler: Sampler, seeds: list[int], psis: list[float]) -> None:
    """Show truncation (Karras et al. 2019, figure 8): w drawn towards its average, which trades variety for quality.

    Writes seed0000-psi+0.5.png and so on, and all on one sheet, truncation.png.
    """
    _check_sheet(sampler, len(seeds), len(psis))
    pairs = [(seed, psi) for seed in seeds for psi in psis]
    ws = (w for seed, psi in pairs for w in sampler.ws([seed], psi))
    made = sampler.pixels(ws, [seed for seed, _ in pairs])
    pictures: list[Image.Image] = []
    for (seed, psi), pixels in progress(zip(pairs, made, strict=True), len(pairs), "pictures"):
        pictures.append(to_pil(pixels))
        save_image(pictures[-1], sampler.outdir / f"seed{seed:04d}-psi{psi:+}.png")
    rows = [pictures[start : start + len(psis)] for start in range(0, len(pictures), len(psis))]
    labelled = sheet(rows, [f"seed {seed}" for seed in seeds], [_psi_label(psi) for psi in psis])
    save_image(labelled, sampler.outdir / SHEET)
    write_record("truncation", sampler)
    say(f"wrote {counted(len(set(pairs)), 'picture')}, {SHEET} and truncation.json to {sampler.outdir}")


def _check_sheet(sampler: Sampler, seeds: int, psis: int) -> None:
    height, width = max(sampler.G.config.height, LABELLED[0]), max(sampler.G.config.width, LABELLED[1])
    most = LARGEST_SHEET // (height * width)
    if seeds * psis > most:
        raise ValueError(
            f"--seeds and --psis ask for {seeds} x {psis} = {seeds * psis} pictures, and at most {most} of this size "
            f"fit on a sheet: take fewer seeds or values of psi"
        )


def _psi_label(psi: float) -> str:
    """The value as short as it can be said exactly, so that no two look alike."""
    return f"psi {psi:g}" if float(f"{psi:g}") == psi else f"psi {psi}"


if __name__ == "__main__":
    main()
