"""What a run will be, settled before anything is built: begun anew, resumed, or started from another's weights."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from custom_ops import build
from imaging import loader
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.sizes import usual_size
from models.families import NetworkFile
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.sizes import fits
from models.summary import summary
from system.files import real_path
from torch_utils import config as configs
from torch_utils import distributed, notices, runs
from torch_utils.cli import counted
from torch_utils.device import reserve_workspace, resolve_device, resolve_precision, slow_precision
from torch_utils.distributed import PATIENCE
from training import batch_gpu
from training.agreement import agree_on, see_the_same
from training.few import on_few_images
from training.machine import INEXACT, keep_threads, rounds_otherwise
from training.report.status import duration
from training.shares import largest_divisor
from training.state import Data, State, read_state
from training.stylegan2 import presets
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.transfer import open_transfer

# What may change when a run is resumed: nothing that decides a single number of it.
CHANGEABLE = {
    *("pace.kimg", "pace.tick", "pace.snap", "pace.state_minutes"),
    *("workers", "patience", "checkpoint_activations", "metrics"),
}
# These decide how numbers are rounded, at most.
ROUNDING = {"compile", "cuda_graphs", "deterministic"}

FOLDER_NOTICE = "run folder"  # by which the processes that torchrun starts again know what they were at


@dataclass
class Plan:
    """Everything that is settled before anything is built. The session drops `state` and `network` once loaded."""

    config: StyleGAN2Config
    dataset: ImageSet
    device: torch.device  # of this process
    outdir: Path
    folder: Path | None = None  # of the run that is resumed
    state: State | None = None
    network: NetworkFile | None = None  # whose weights a new run takes over
    notes: tuple[str, ...] = ()
    started: bool = False  # whether the first step is about to be taken

    @property
    def resumed(self) -> bool:
        """Whether the run goes on, and does not begin."""
        return self.folder is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What the files of the run say about it."""
        d = self.dataset
        data = {"name": d.name, "fingerprint": d.fingerprint, "images": len(d), "class_names": list(d.class_names)}
        if d.classes:
            data["class_counts"] = (d.label_counts // (2 if d.mirror else 1)).tolist()  # pictures of each
        return {
            "training": configs.to_dict(self.config),
            "data": data,
            "torch": torch.__version__,
            "operators": build.implementation(self.device),
        }

    def describe(self) -> str:
        """The resolved configuration and the networks, as tables."""
        G, D = _meta_networks(self.config)
        z, c = torch.zeros(1, G.config.z_dim, device="meta"), torch.zeros(1, G.config.classes, device="meta")
        image = torch.zeros(1, G.config.channels, G.config.height, G.config.width, device="meta")
        return "\n\n".join(
            [
                configs.table(self.config),
                summary("Generator", G, lambda network: network(z, c, noise_mode="none")),
                summary("Discriminator", D, lambda network: network(image, c)),
            ]
        )


def begin(given: Mapping[str, Any], outdir: Path, network: Path | str | None = None) -> Plan:
    """Plans a new run from what the user gave, by dotted name.

    Raises:
        ValueError, FileNotFoundError: for data or options that do not fit; nothing has been written then.
    """
    path = given.get("data.path", "demo")
    preset = given.get("preset") or ("demo" if _is_demo(path) else "auto")
    data = {name: value for name, value in given.items() if name.startswith("data.")}
    data["data.path"] = _absolute(path)
    dataset = open_dataset(DataConfig(**{name.removeprefix("data."): value for name, value in data.items()}))
    if unfit := fits((dataset.height, dataset.width)):
        better = dataset.resized(*usual_size(dataset.height, dataset.width))
        raise ValueError(f"{data['data.path']}: {unfit}: {better}")
    if given.get("deterministic"):
        reserve_workspace()  # before anything is computed on a GPU
    device = distributed.start(resolve_device(given.get("device", "auto")), given.get("patience", PATIENCE))
    agree_on({**given, "--resume": "none", "--transfer": "none" if network is None else "given"})
    see_the_same(dataset)
    machine = {
        "device": device.type,
        "precision": resolve_precision(given.get("precision", "auto"), device, training=True),
        "workers": given.get("workers", loader.default_workers(dataset, on_cpu=device.type == "cpu")),
    }
    if network is None and given.get("optimizer.freeze_d"):
        raise ValueError("--freeze-d leaves layers of a trained D as they are: give --transfer with it")
    if network is not None:
        machine["average.ramp"] = given.get("average.ramp", 0.0)  # the average starts from a trained network
        machine["augment.ada_kimg"] = given.get("augment.ada_kimg", 100.0)  # and D may know the images soon
    image = {name: getattr(dataset, name) for name in ("height", "width", "channels", "classes")}
    for part, (name, value) in itertools.product(("generator", "discriminator"), image.items()):
        if given.get(f"{part}.{name}", value) != value:
            raise ValueError(f"--set {part}.{name} comes from the data, where it is {value}: leave it out")
    values = {**given, **data, **machine}
    notes = [dataset.labels_note, *dataset.notes]
    if values.get("pace.batch_gpu") == "auto":
        began = time.monotonic()
        config = batch_gpu.largest(
            presets.by_batch_gpu(preset, image, values, distributed.world(), len(dataset)), device
        )
        share = config.pace.batch // distributed.world()
        took = f"found in {duration(time.monotonic() - began)}"
        notes.append(f"--batch-gpu auto: {config.pace.batch_gpu} of {counted(share, 'image')} at once, {took}")
    else:
        config = presets.resolve(preset, image, values, distributed.world(), len(dataset))
    notes += on_few_images(config, dataset.count, "augment.mode" in given, network is not None)
    if slow := slow_precision(config.arithmetic, device):
        notes.append(slow)
    _refuse_idle(given, config)
    agree_on(configs.flatten(config))
    file = None if network is None else open_transfer(network, config)
    return Plan(config, dataset, device, outdir, network=file, notes=tuple(notes))


def _refuse_idle(given: Mapping[str, Any], config: StyleGAN2Config) -> None:
    """Refuses settings of augmentations that have no effect."""
    mode = config.augment.mode
    for name in (f"augment.{name}" for name in config.augment.idle):
        if name in given:
            option = configs.flag_of(StyleGAN2Config, name)
            raise ValueError(f"{option} has no use with --aug {mode}: leave it out, or give --aug ada")


def interrupted() -> Path | None:
    """The run that this launch was at, where `torchrun` has started the processes again, and a state was saved."""
    folder = notices.read(FOLDER_NOTICE)
    return Path(folder) if folder is not None and runs.has_state(Path(folder)) else None


def again(folder: Path, given: Mapping[str, Any], changed_data: bool = False) -> Plan:
    """Plans to go on with an interrupted run, begun or resumed with the options that are given here again."""
    changes = {name: value for name, value in given.items() if name in CHANGEABLE | ROUNDING | {"data.path"}}
    return resume(str(folder), changes, folder.parent, changed_data)


def resume(text: str, given: Mapping[str, Any], outdir: Path, changed_data: bool = False) -> Plan:
    """Plans to go on with a run: its folder, its state file, or `latest`.

    Args:
        text: the run.
        given: options by dotted name.
        outdir: where `latest` is looked for.
        changed_data: goes on although the images are not those the run has learned from, if they fit its networks.

    Raises:
        ValueError, FileNotFoundError: when there is no whole state, when an option contradicts it, or when the data
            are not those it was trained on.
    """
    where = runs.resolve(text, outdir)
    state = read_state(where)
    config = state.config
    values = configs.flatten(config)
    for name, value in given.items():
        if name == "data.path":
            values[name] = _absolute(value)  # it may have been moved; whether it is the same is found out below
            continue
        value = values[name] if value == "auto" and name in ("device", "precision", "pace.batch_gpu") else value
        if value != values[name] and name not in CHANGEABLE | ROUNDING:
            raise ValueError(
                f"{configs.flag_of(StyleGAN2Config, name)} is {configs.spell(value)}, but this run has "
                f"{configs.spell(values[name])}: leave the option out to resume, or start a new run without --resume"
            )
        values[name] = value
    if values["deterministic"]:
        reserve_workspace()
    device = distributed.start(_same_device(values["device"]), values["patience"])
    agree_on({**given, "--resume": "given", "--transfer": "none"})
    if not distributed.agree(int(state.digest[:15], 16)):
        raise ValueError(f"the processes found different states in {where.run}: give all machines the same folder")
    notes = [state.note] if state.note else []
    notes += _rounded_otherwise(configs.flatten(config), values, device)
    if state.facts.world != distributed.world():
        notes.append(_deal_anew(values, state.facts.world))
    notes += keep_threads(state.facts.threads, device) + rounds_otherwise(state.facts, device)
    config = configs.build(StyleGAN2Config, values)
    agree_on(configs.flatten(config))
    dataset, changes = _same_dataset(config, state.facts.data, changed_data)
    notes += changes
    see_the_same(dataset)
    return Plan(config, dataset, device, outdir, where.run, state, notes=tuple(notes))


def _same_device(name: str) -> torch.device:
    try:
        return resolve_device(name)
    except ValueError as error:
        raise ValueError(
            f"this run was trained on {name}, which this machine does not have: "
            f"resume it where there is one, or start a new run with --transfer"
        ) from error


def _same_dataset(config: StyleGAN2Config, before: Data, changed: bool) -> tuple[ImageSet, list[str]]:
    """The data of a resumed run, wherever they are now, and what to say if they are others and may be."""
    path = config.data.path
    try:
        dataset = open_dataset(config.data)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the data of this run are no longer at {path}: say where with --data") from error
    if dataset.is_known_as(before.fingerprint):
        if changed and interrupted() is None:  # else the state of this launch may be of the changed data already
            raise ValueError(f"{path} has not changed since this run was stopped: leave --changed-data out")
        return dataset, []
    if not changed:
        raise ValueError(
            f"{path} has changed since this run was stopped, or is another set: bring the old data back, "
            f"start a new run with --transfer, or insist with --changed-data"
        )
    for name in ("height", "width", "channels", "classes"):
        now, then = getattr(dataset, name), getattr(config.generator, name)
        if now != then:
            raise ValueError(
                f"{path} has {name} {now}, but this run learned with {then}, which --changed-data cannot change: "
                f"start a new run with --transfer"
            )
    if list(dataset.class_names) != before.class_names:
        raise ValueError(
            f"the classes of {path} are not those this run learned, which --changed-data cannot change: "
            f"start a new run with --transfer"
        )
    counts = f"{counted(before.images, 'image')} before, {len(dataset)} now"
    return dataset, [f"the data have changed ({counts}), and the run goes on with them: from here it is another run"]


def _deal_anew(values: dict[str, Any], before: int) -> str:
    """Deals the batch of a resumed run to another number of processes; returns the sentence to say about it."""
    batch, world = values["pace.batch"], distributed.world()
    if batch % world:
        raise ValueError(f"the {batch} images of this run's batch cannot be dealt to {world} processes: take a divisor")
    values["pace.batch_gpu"] = largest_divisor(batch // world, values["pace.batch_gpu"])
    return f"this run had {before} processes and goes on with {world}: {INEXACT}"


def _rounded_otherwise(before: Mapping[str, Any], now: Mapping[str, Any], device: torch.device) -> list[str]:
    """What to say of options that may change, but not without a trace."""
    changed = [name for name in sorted(ROUNDING) if before[name] != now[name]]
    if device.type != "cuda":
        changed = [name for name in changed if name != "deterministic"]  # elsewhere everything is
    words = {name: f"{'with' if now[name] else 'without'} {configs.flag_of(StyleGAN2Config, name)}" for name in changed}
    return [f"this run goes on {words[name]}: {INEXACT}" for name in changed]


def _meta_networks(config: StyleGAN2Config) -> tuple[Generator, Discriminator]:
    with torch.device("meta"):
        return Generator(config.generator).eval(), Discriminator(config.discriminator).eval()


def _absolute(path: str) -> str:
    """A path that still holds when a run is resumed from another folder."""
    return path if _is_demo(path) or "://" in path else str(real_path(path))


def _is_demo(path: str) -> bool:
    return path == "demo" or path.startswith("demo:")
