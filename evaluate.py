"""Judge a network, or any pictures, against a data set."""

from __future__ import annotations

import system.start  # noqa: F401 (first)

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from imaging.dataset import DataConfig, open_dataset
from imaging.filenames import is_run
from imaging.imageset import ImageSet
from metrics import features, suite
from metrics.catalog import parse_list
from metrics.results import Judgement
from models.families import NetworkFile, open_sampler, read_network
from models.perceptual import detectors as eyefiles
from models.perceptual.detectoroptions import detector_options
from models.sampler import Options
from sampling.command import DEVICE, learn
from system.files import check_folder
from system.text import printable, public, public_command, public_values
from torch_utils import config as configs
from torch_utils import distributed
from torch_utils.cli import Command, option, say
from torch_utils.device import resolve_device, switches

EXAMPLES = """
Examples:
  python evaluate.py --network runs/00000-ffhq-auto                        FID of its newest network
  python evaluate.py --network network-000200.0.safetensors --data ffhq.zip --metrics fid50k_full,pr50k3_full
  python evaluate.py --network runs/00000-ffhq-auto --metrics swd5k        needs no detector
  python evaluate.py --images out/ --data ffhq.zip --metrics fid1k_full --detector inception=pt_inception.pth
  torchrun --nproc-per-node 8 evaluate.py --network runs/00000-ffhq-auto
"""
OUT = Path("out")


@click.command(cls=Command, more=partial(learn, seeds=False, judging=True), epilog=EXAMPLES)
@option(
    "--network",
    type=click.Path(),
    metavar="PLACE",
    group="Pictures",
    help="network-….safetensors, a run folder, a file of another program, a URL, hf://USER/NAME, or a published name "
    "such as ffhq256",
)
@option(
    "--images",
    type=click.Path(path_type=Path),
    group="Pictures",
    help="instead: a folder or ZIP of pictures of one size",
)
@option(
    "--data",
    metavar="DATA",
    group="Data",
    help="real images, as train.py takes them; default: those that the network learned from",
)
@option(
    "--mirror/--no-mirror",
    default=None,
    show_default="as the network learned, else no-mirror",
    group="Data",
    help="count every real image also mirrored",
)
@option("--metrics", "names", metavar="NAMES", default="fid50k_full", group="Metrics", help="names, with commas")
@detector_options("Metrics", "inception, vgg16, lpips or dinov2")
@option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, group="Metrics", help="random seed")
@option(
    "--outdir",
    type=click.Path(path_type=Path),
    show_default=f"the network's run, else {OUT}",
    group="Output",
    help="folder whose metrics.jsonl gets the results",
)
@option("--json", "as_json", is_flag=True, group="Output", help="print JSON instead of a table")
@DEVICE
@option("--batch", type=click.IntRange(min=1), default=32, group="Device", help="pictures at once in a process")
@switches("fp32")
def main(
    network: str | None,
    images: Path | None,
    data: str | None,
    mirror: bool | None,
    names: str,
    detectors: tuple[str, ...],
    trust: bool,
    seed: int,
    outdir: Path | None,
    as_json: bool,
    device: str,
    batch: int,
    **params: Any,
) -> None:
    """Judge a network's pictures, or given ones, against real images.

    Samples are made as in the papers (for StyleGAN2: averaged generator, psi 1, random noise), unless options of the
    network change this.

    docs/metrics.md explains each metric and the detectors' files.
    """
    metrics = parse_list(names)
    if not metrics:
        raise ValueError("--metrics none computes nothing: give some, such as fid50k_full or swd")
    if (network is None) == (images is None):
        raise ValueError("give either --network or --images: one of them names what to judge")
    known: NetworkFile | None = click.get_current_context().obj
    file = known or (read_network(network) if network else None)
    folder = outdir or (file.path.parent if file and is_run(file.path.parent) else OUT)
    check_folder(folder, f"--outdir {folder}")
    options, more = _options(file, params) if file else (None, {})
    dataset = _open_data(data, mirror, file)
    place = distributed.start(resolve_device(device))
    try:
        _tell(f"--data {dataset.name}", dataset)
        if file and options:
            judged, sampler = public(file.place) or file.path.name, open_sampler(file, options, place)
            dataset.decoder = getattr(sampler, "codec", None)
            _check_pictures(dataset, f"--data {dataset.name}")
            source: features.Judged = features.Made(sampler, dataset.label_counts, seed)
        else:
            judged = str(images)
            pictures = open_dataset(DataConfig(path=judged, labels="none"), with_sheets=False)
            _check_pictures(pictures, f"--images {images}")
            _tell(f"--images {images}", pictures)
            source = features.PictureFiles(pictures, place)
        suite.check_latents(metrics, getattr(source, "sampler", None))
        eyes = features.open_eyes([metric.eye for metric in metrics], eyefiles.parse_files(detectors), place, trust)
        found = suite.Suite(metrics, eyes, suite.RealStatistics(dataset, place, batch)).judge(source)
        if distributed.is_first():
            facts = _write(found, folder, file, judged, seed, more)
            told = {"results": found.results, "between_halves": found.halves, "folder": str(folder), **facts}
            width = max(map(len, found.results))
            table = "\n".join(f"{name:<{width}}  {found.shown(name, 6)}" for name in found.results)
            say(json.dumps(told) if as_json else table)
        distributed.barrier()  # the first process may still have been writing
    finally:
        distributed.stop()


def _check_pictures(images: ImageSet, option: str) -> None:
    if images.latent is not None and images.decoder is None:
        raise ValueError(f"{option} holds latents, which the network's pictures cannot be compared with: give pictures")


def _options(file: NetworkFile, params: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """The options of the network's pictures, and `options` for the record: those that metrics do not use by default."""
    usual = file.family.judged
    given = {name: value for name, value in params.items() if value is not None}
    options = configs.build(type(usual), configs.flatten(usual) | given)
    changed = options.unlike(usual)
    return options, {"options": public_values(changed)} if changed else {}


def _open_data(path: str | None, mirror: bool | None, file: NetworkFile | None) -> ImageSet:
    """All real images, as the network's file records them unless options replace that."""
    facts = file.metadata.get("training", {}).get("data") if file else None
    try:
        recorded = configs.from_dict(DataConfig, facts) if isinstance(facts, dict) else None
    except ValueError:
        recorded = None
    if path is None and recorded is None:
        raise ValueError("give --data: the network's file does not record which images it learned from")
    given = {name: value for name, value in {"path": path, "mirror": mirror}.items() if value is not None}
    config = (recorded or DataConfig()).model_copy(update={"max_images": 0, **given})
    if path is not None:
        return open_dataset(config)
    learned = f"{file} learned from {printable(public(config.path))}"
    # An untrusted file must not choose what to connect to: a URL, a chain of fsspec, a Windows share.
    if "://" in config.path or "::" in config.path or config.path.startswith(("//", "\\\\")):
        raise ValueError(f"{learned}, which is on another machine: give --data, either this place or a copy")
    try:
        return open_dataset(config)
    except (ValueError, OSError) as error:
        why = "which is missing" if isinstance(error, FileNotFoundError) else f"which cannot be opened ({error})"
        raise ValueError(f"{learned}, {why}: give --data, the place of these images on this machine") from error


def _write(
    found: Judgement, folder: Path, file: NetworkFile | None, judged: str, seed: int, more: dict[str, Any]
) -> dict[str, Any]:
    """Write metrics.jsonl and, in the folder of a run, points of TensorBoard's curves. Returns facts of the results."""
    seen = round(file.metadata["kimg"] * 1000) if file and "kimg" in file.metadata else None
    folder.mkdir(parents=True, exist_ok=True)
    if seen is not None and is_run(folder):
        from torch.utils.tensorboard import SummaryWriter  # only here: it imports TensorBoard, which takes a second

        with SummaryWriter(str(folder)) as board:
            for name, value in found.results.items():
                board.add_scalar(f"metrics/{name}", value, seen)
    return found.append_to(folder, seen, judged, seed, public_command("evaluate.py", sys.argv[1:]), **more)


def _tell(option: str, images: ImageSet) -> None:
    """Print notes about skipped files on standard error, because --json uses standard output."""
    for note in images.notes if distributed.is_first() else ():
        click.echo(f"{option}: {note}", err=True)


if __name__ == "__main__":
    main()
