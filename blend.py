"""Blend two networks into a new one: the shapes of one, the textures of the other."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from PIL import Image

from imaging.grid import check_sheet, save_image, sheet
from imaging.pixels import to_pil
from models.families import NetworkFile, read_network, save_network
from models.stylegan2 import blending, generator
from models.stylegan2 import sampler as stylesampler
from models.stylegan2.choices import StyleOptions
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.family import FAMILY
from sampling.classes import class_facts
from sampling.command import DEVICE, PATH, options, record_files
from sampling.stylegan2 import pictures as drawing
from system.files import check_folder
from torch_utils import download
from torch_utils.cli import Command, Number, SeedList, progress, say
from torch_utils.device import resolve_device, switches

EXAMPLES = """
Examples:
  python blend.py --network faces.safetensors --with cartoons.safetensors --at 32
                                      shapes of faces up to 16x16, textures and colors of cartoons from 32x32 up
  python blend.py --network cartoons.safetensors --with faces.safetensors --at 16 --width 2 --out out/toons.safetensors
                                      the other way round, gradually over two doublings
  python blend.py --network faces.safetensors --with cartoons.safetensors --weight 0.5
                                      half of each in every layer
"""
ENDING = ".safetensors"
MAPPINGS = {"a": 0.0, "b": 1.0, "mean": 0.5}
ROWS = ("A", "blend", "B")
PLACE, SHARED = {"metavar": "PLACE", "required": True}, {"shown": "a; with --weight the same share"}
GRADUALLY = "number of doublings over which B gradually takes over, half of them before --at or --layer"


@click.command(cls=Command, epilog=EXAMPLES)
@options(
    "Networks",
    ("--network", click.Path(), None, "A, which gives the low resolutions: a place as of other scripts", PLACE),
    ("--with other", click.Path(), None, "B, which gives the high resolutions", PLACE),
)
@options(
    "Blend",
    ("--at", click.IntRange(min=1), None, "resolution (longer side) from which B takes over"),
    ("--layer", click.IntRange(min=0), None, "instead: the layer, as style_mixing.py counts them"),
    ("--weight", Number(), None, "instead: share of B in all layers, from 0 to 1"),
    ("--width", Number(), None, GRADUALLY, {"shown": "0, at once"}),
    ("--mapping", click.Choice(list(MAPPINGS)), None, "whose mapping network turns z and class into w", SHARED),
)
@options(
    "Output",
    ("--out", PATH, Path(f"out/blend{ENDING}"), "file of the new network; pictures and a record are written beside it"),
    ("--seeds", SeedList(), "0-7", "pictures of A, the blend and B for each"),
    ("--psi", Number(), 1.0, "truncation of the pictures"),
)
@DEVICE
def main(network: str, other: str, out: Path, seeds: list[int], psi: float, device: str, **how: Any) -> None:
    """Blend two networks, one trained from the other, by resolution (Pinkney and Adler 2020).

    A gives pose and shapes, which low resolutions decide, and B gives textures and colors. The averaged generators are
    blended; the new file has no G and no D.
    """
    _check_options(how)
    if out.suffix.lower() != ENDING:
        raise ValueError(f"--out {out}: the name of a network file ends in {ENDING}")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file, such as {out / f'blend{ENDING}'}")
    check_folder(out.parent, f"--out {out}")
    where = resolve_device(device)
    a, b = read_network(network), read_network(other)
    if a.path.samefile(b.path):
        raise ValueError(f"--network and --with are the same network, {a}: name another one")
    for flag, file in (("--network", a), ("--with", b)):
        file.require(FAMILY, flag)
        if out.exists() and out.samefile(file.path):
            raise ValueError(f"--out {out} is the file of {flag}, which would be lost: choose another name")
    A, B = a.part("G_ema"), b.part("G_ema")
    assert isinstance(A, generator.Generator) and isinstance(B, generator.Generator)
    shares = _shares(A.config, how)
    blending.check(A.config, B.config, mixed_mapping=0 < shares.mapping < 1)
    check_sheet(len(ROWS) * len(seeds), (A.config.height, A.config.width), "--seeds", labeled=False)
    likeness = blending.likeness(A, B)
    _introduce(a, b, likeness)
    blended = blending.blend(A, B, shares)
    facts: dict[str, Any] = {
        name: {"path": str(file), "sha256": download.sha256(file.path), "kimg": file.metadata.get("kimg")}
        for name, file in (("a", a), ("b", b))
    }
    facts |= {"likeness": round(likeness, 4), "share of b": shares._asdict()}
    about = (b if shares.mapping == 1 else a).metadata
    data = class_facts(about, blended.config.classes)
    save_network(out, "stylegan2", {"G_ema": blended}, {"data": data, "blend": facts})
    picture, record = out.with_suffix(".png"), out.with_suffix(".json")
    with switches("fp32", trial=False):
        save_image(_sheet([G.to(where) for G in (A, blended, B)], seeds, psi, about), picture)
    record_files("blend", record, facts, {"device": where.type})
    say(f"wrote {out.name}, {picture.name} and {record.name} to {out.parent}")


def _check_options(how: dict[str, Any]) -> None:
    """Check that the blend is asked for in one way, by options that belong together."""
    ways = [f"--{name}" for name in ("at", "layer", "weight") if how[name] is not None]
    if len(ways) != 1:
        got = " and ".join(ways) or "none of them"
        raise ValueError(f"give exactly one of --at, --layer and --weight: got {got}")
    weight, width = how["weight"], how["width"]
    if weight is not None and not 0 <= weight <= 1:
        raise ValueError(f"--weight {weight:g} is no share: give a number from 0, all of A, to 1, all of B")
    if weight is not None and width is not None:
        raise ValueError("--width does not apply with --weight, which is the same in all layers: leave it out")
    if width is not None and width < 0:
        raise ValueError(f"--width {width:g}: give the doublings over which B takes over, 0 or more")


def _shares(config: GeneratorConfig, how: dict[str, Any]) -> blending.Shares:
    """The shares that the options mean for a network. Raise ValueError if --at or --layer does not fit it."""
    layers, weight = config.num_ws - 1, how["weight"]
    if weight is not None:
        return blending.Shares([weight] * layers, weight if how["mapping"] is None else MAPPINGS[how["mapping"]])
    first = how["layer"]
    if first is None:
        try:
            first = blending.first_layer(config, how["at"])
        except ValueError as error:
            raise ValueError(f"--at {error}") from error
    elif first >= layers:
        raise ValueError(f"--layer {first}: this network's layers are 0 to {layers - 1}")
    return blending.Shares(blending.ramp(layers, first, how["width"] or 0.0), MAPPINGS[how["mapping"] or "a"])


def _introduce(a: NetworkFile, b: NetworkFile, likeness: float) -> None:
    """Print the names of both networks and the parts left out; warn if the networks are unrelated."""
    for name, file in (("A", a), ("B", b)):
        others = [part for part in file.parts if part != "G_ema"]
        left = f"; its {' and '.join(others)} are left out" if others else ""
        say(f"{name}: G_ema of {file}{left}")
    if likeness < blending.STRANGERS:
        say(
            f"warning: as it seems, neither of them was trained from the other (likeness {likeness:.2f}), and such "
            "networks blend into nothing: train one from the other with train.py --transfer"
        )


def _sheet(networks: list[generator.Generator], seeds: list[int], psi: float, about: Mapping[str, Any]) -> Image.Image:
    """A row for each network, a column for each seed."""
    samplers = [stylesampler.StyleSampler(G, StyleOptions(psi=psi), about) for G in networks]
    made = (pixels for sampler in samplers for pixels in sampler.sample(sampler.requests(seeds)))
    pictures = [to_pil(pixels) for pixels in progress(made, len(networks) * len(seeds), "pictures")]
    return sheet(drawing.in_rows(pictures, len(seeds)), ROWS, [str(seed) for seed in seeds])


if __name__ == "__main__":
    main()
