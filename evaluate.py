"""Judge a network, or any pictures, against a data set."""

import system.start  # noqa: F401 (first)

import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.tensorboard import SummaryWriter

from imaging.dataset import DataConfig, open_dataset
from imaging.filenames import is_run
from imaging.imageset import ImageSet
from metrics.in_loop import open_eyes
from metrics.names import Metric, parse_list
from metrics.reals import RealStatistics
from metrics.record import Record
from metrics.sources import Made, PictureFiles
from metrics.suite import beside, between_halves, evaluate, facts_of
from models.families import NetworkFile, open_sampler
from models.perceptual.published import detector_options, parse_files
from models.sampler import Options
from sampling.opening import learn
from sampling.options import DEVICE
from system.text import printable
from system.urls import public, public_command, public_values
from torch_utils import config as configs
from torch_utils import distributed
from torch_utils.cli import option, say
from torch_utils.dependent import DependentCommand
from torch_utils.device import resolve_device, switches
from torch_utils.paths import check_folder

EXAMPLES = """
Examples:
  python evaluate.py --network runs/00000-ffhq-auto                        FID of its newest network
  python evaluate.py --network network-000200.0.safetensors --data ffhq.zip --metrics fid50k_full,pr50k3_full
  python evaluate.py --network runs/00000-ffhq-auto --metrics swd5k        needs no detector
  python evaluate.py --images out/ --data ffhq.zip --metrics fid1k_full --detector inception=pt_inception.pth
  torchrun --nproc-per-node 8 evaluate.py --network runs/00000-ffhq-auto
"""
OUT = Path("out")


@click.command(cls=DependentCommand, more=partial(learn, judging=True), epilog=EXAMPLES)
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
    file: NetworkFile | None = click.get_current_context().obj
    options = None if file is None else _options(file, params)
    folder = _place(outdir, file)
    dataset = _open_data(data, mirror, file)
    place = distributed.start(resolve_device(device))
    try:
        _tell(f"--data {dataset.name}", dataset)
        eyes = open_eyes(metrics, parse_files(detectors), place, trust)
        source = _source(file, options, images, dataset, seed, place)
        start = time.monotonic()
        reals = RealStatistics(dataset, place, batch)
        results = evaluate(metrics, source, reals, eyes, batch)
        halves = between_halves(metrics, source, reals, eyes)
        facts = {
            "network": (public(file.place) or file.path.name) if file else str(images),
            "data": dataset.name,
            "fingerprint": dataset.fingerprint,
            "seed": seed,
            "command": public_command("evaluate.py", sys.argv[1:]),
            "seconds": round(time.monotonic() - start, 3),
        }
        if file is not None and options is not None and options != file.family.judged:
            usual = file.family.judged.model_dump(mode="json")
            chosen = {n: v for n, v in options.model_dump(mode="json").items() if usual[n] != v}
            facts["options"] = public_values(chosen)
        if distributed.is_first():
            own = {metric: facts_of(metric, source, reals, halves) for metric in metrics}
            _write(folder, _seen(file), own, results, facts)
            told = {"results": results, "between_halves": halves, "folder": str(folder), **facts}
            say(json.dumps(told) if as_json else _table(results, halves))
        distributed.barrier()  # the first process may still have been writing
    finally:
        distributed.stop()


def _place(outdir: Path | None, file: NetworkFile | None) -> Path:
    """The folder whose metrics.jsonl gets the results."""
    folder = outdir or (file.path.parent if file and is_run(file.path.parent) else OUT)
    check_folder(folder, f"--outdir {folder}")
    return folder


def _open_data(path: str | None, mirror: bool | None, file: NetworkFile | None) -> ImageSet:
    """All real images, as the network's file records them unless options replace that."""
    recorded = _recorded(file)
    if path is None and recorded is None:
        raise ValueError("give --data: the network's file does not record which images it learned from")
    changes: dict[str, Any] = {"max_images": 0}
    changes |= {} if path is None else {"path": path}
    changes |= {} if mirror is None else {"mirror": mirror}
    config = (recorded or DataConfig()).model_copy(update=changes)
    if path is not None:
        return open_dataset(config)
    learned = f"{file} learned from {printable(public(config.path))}"
    if _is_elsewhere(config.path):  # an untrusted file must not choose what to connect to
        raise ValueError(f"{learned}, which is on another machine: give --data, either this place or a copy")
    try:
        return open_dataset(config)
    except (ValueError, OSError) as error:
        why = "which is missing" if isinstance(error, FileNotFoundError) else f"which cannot be opened ({error})"
        raise ValueError(f"{learned}, {why}: give --data, the place of these images on this machine") from error


def _is_elsewhere(path: str) -> bool:
    """True if opening a path would connect to another machine: a URL, a chain of fsspec, a Windows share."""
    return "://" in path or "::" in path or path.startswith(("//", "\\\\"))


def _recorded(file: NetworkFile | None) -> DataConfig | None:
    """The data that the network's file records; None without a valid record."""
    recorded = file.metadata.get("training", {}).get("data") if file else None
    if not isinstance(recorded, dict):
        return None
    try:
        return configs.from_dict(DataConfig, recorded)
    except ValueError:
        return None


def _options(file: NetworkFile, params: Mapping[str, Any]) -> Options:
    """The options of the network's pictures: those that metrics use by default, and those that were given."""
    judged = file.family.judged
    given = {name: value for name, value in params.items() if value is not None}
    return configs.build(type(judged), configs.flatten(judged) | given)


def _source(
    file: NetworkFile | None,
    options: Options | None,
    images: Path | None,
    dataset: ImageSet,
    seed: int,
    device: torch.device,
) -> Made | PictureFiles:
    if file is None:
        assert images is not None, "one of the two is judged"
        judged = open_dataset(DataConfig(path=str(images), labels="none"), with_sheets=False)
        _tell(f"--images {images}", judged)
        return PictureFiles(judged, device)
    assert options is not None, "every file has them"
    return Made(open_sampler(file, options, device), torch.as_tensor(dataset.label_counts), seed)


def _tell(option: str, images: ImageSet) -> None:
    """Print notes about skipped files on standard error, because --json uses standard output."""
    for note in images.notes if distributed.is_first() else ():
        click.echo(f"{option}: {note}", err=True)


def _seen(file: NetworkFile | None) -> int | None:
    return round(file.metadata["kimg"] * 1000) if file and "kimg" in file.metadata else None


def _write(
    folder: Path,
    seen: int | None,
    own: dict[Metric, dict[str, float]],
    results: dict[str, float],
    facts: dict[str, Any],
) -> None:
    """Write lines of metrics.jsonl and, in the folder of a run, points of TensorBoard's curves."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder)
    for metric, more in own.items():
        record.append({name: results[name] for name in metric.results}, seen, facts | more)
    if seen is not None and is_run(folder):
        with SummaryWriter(str(folder)) as board:
            for name, value in results.items():
                board.add_scalar(f"metrics/{name}", value, seen)


def _table(results: dict[str, float], halves: dict[str, float]) -> str:
    width = max(map(len, results))
    return "\n".join(f"{name:<{width}}  {value:.6g}{beside(name, halves)}" for name, value in results.items())


if __name__ == "__main__":
    main()
