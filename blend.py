"""Blend two networks into a new one: the shapes of one, the textures of the other."""

import system.start  # noqa: F401 (first)

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image

from imaging.grid import check_sheet, save_image, sheet
from imaging.pixels import to_pil
from models.families import NetworkFile, read_network, save_network
from models.stylegan2 import blending
from models.stylegan2.config import GeneratorConfig
from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from models.stylegan2.options import StyleOptions
from models.stylegan2.sampler import StyleSampler
from sampling.classes import class_facts
from sampling.options import DEVICE
from sampling.record import write_record
from system.files import check_folder
from torch_utils.cli import Command, Number, SeedList, option, progress, say
from torch_utils.device import resolve_device, switches
from torch_utils.download import sha256

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


@click.command(cls=Command, epilog=EXAMPLES)
@option(
    "--network",
    type=click.Path(),
    metavar="PLACE",
    required=True,
    group="Networks",
    help="A, which gives the low resolutions: a place as for --network of the other scripts",
)
@option(
    "--with",
    "other",
    type=click.Path(),
    metavar="PLACE",
    required=True,
    group="Networks",
    help="B, which gives the high resolutions",
)
@option("--at", type=click.IntRange(min=1), group="Blend", help="resolution (longer side) from which B takes over")
@option("--layer", type=click.IntRange(min=0), group="Blend", help="instead: the layer, as style_mixing.py counts them")
@option("--weight", type=Number(), group="Blend", help="instead: share of B in all layers, from 0 to 1")
@option(
    "--width",
    type=Number(),
    show_default="0, at once",
    group="Blend",
    help="number of doublings over which B gradually takes over, half of them before --at or --layer",
)
@option(
    "--mapping",
    type=click.Choice(list(MAPPINGS)),
    show_default="a; with --weight the same share",
    group="Blend",
    help="whose mapping network turns z and class into w",
)
@option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(f"out/blend{ENDING}"),
    group="Output",
    help="file of the new network; pictures (.png) and a record (.json) of the same name are written beside it",
)
@option("--seeds", type=SeedList(), default="0-7", group="Output", help="pictures of A, the blend and B for each")
@option("--psi", type=Number(), default=1.0, group="Output", help="truncation of the pictures")
@DEVICE
def main(network: str, other: str, out: Path, seeds: list[int], psi: float, device: str, **how: Any) -> None:
    """Blend two networks, one trained from the other, by resolution (Pinkney and Adler 2020).

    A gives pose and shapes, which low resolutions decide, and B gives textures and colors. The averaged generators are
    blended; the new file has no G and no D.
    """
    _check_options(how)
    _check_out(out)
    where = resolve_device(device)
    a, b = read_network(network), read_network(other)
    a.require(FAMILY, "--network")
    b.require(FAMILY, "--with")
    _check_parents(out, a, b)
    A, B = _generator(a), _generator(b)
    shares = _shares(A.config, how)
    _check_fit(A.config, B.config, shares.mapping)
    check_sheet(len(ROWS) * len(seeds), (A.config.height, A.config.width), "--seeds", labeled=False)
    likeness = blending.likeness(A, B)
    _introduce(a, b, likeness)
    blended = blending.blend(A, B, shares)
    facts = {"a": _about(a), "b": _about(b), "likeness": round(likeness, 4), "share of b": shares._asdict()}
    about = (b if shares.mapping == 1 else a).metadata
    data = class_facts(about, blended.config.classes)
    save_network(out, "stylegan2", {"G_ema": blended}, {"data": data, "blend": facts})
    picture, record = out.with_suffix(".png"), out.with_suffix(".json")
    with switches("fp32", trial=False):
        save_image(_pictures([G.to(where) for G in (A, blended, B)], seeds, psi, about), picture)
    write_record("blend", record, facts, {"device": where.type})
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


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ENDING:
        raise ValueError(f"--out {out}: the name of a network file ends in {ENDING}")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file, such as {out / f'blend{ENDING}'}")
    check_folder(out.parent, f"--out {out}")


def _check_parents(out: Path, a: NetworkFile, b: NetworkFile) -> None:
    if a.path.samefile(b.path):
        raise ValueError(f"--network and --with are the same network, {a}: name another one")
    for flag, file in (("--network", a), ("--with", b)):
        if out.exists() and out.samefile(file.path):
            raise ValueError(f"--out {out} is the file of {flag}, which would be lost: choose another name")


def _generator(file: NetworkFile) -> Generator:
    G = file.part("G_ema")
    assert isinstance(G, Generator)
    return G


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


def _check_fit(a: GeneratorConfig, b: GeneratorConfig, mapping: float) -> None:
    try:
        blending.check(a, b, mixed_mapping=0 < mapping < 1)
    except blending.MappingError as error:
        raise ValueError(f"{error}, so take that of A or B whole, --mapping a or b") from error
    except ValueError as error:
        raise ValueError(f"{error}: blend a network with one that was trained from it") from error


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


def _about(file: NetworkFile) -> dict[str, Any]:
    """Facts that identify a network file."""
    return {"path": str(file), "sha256": sha256(file.path), "kimg": file.metadata.get("kimg")}


def _pictures(networks: list[Generator], seeds: list[int], psi: float, about: Mapping[str, Any]) -> Image.Image:
    """A row for each network, a column for each seed."""
    made = progress(_each(networks, seeds, psi, about), len(networks) * len(seeds), "pictures")
    pictures = [to_pil(pixels) for pixels in made]
    rows = [pictures[start : start + len(seeds)] for start in range(0, len(pictures), len(seeds))]
    return sheet(rows, ROWS, [str(seed) for seed in seeds])


def _each(networks: list[Generator], seeds: list[int], psi: float, about: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    for G in networks:
        sampler = StyleSampler(G, StyleOptions(psi=psi), about)
        yield from sampler.sample(sampler.requests(seeds))


if __name__ == "__main__":
    main()
