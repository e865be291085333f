"""What a run will be, settled before anything is built: a new run, a resumed one, or one with trained weights."""

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
from models.families import read_network
from models.family import Shape
from models.networkfile import NetworkFile
from models.summary import summary
from system.files import real_path
from torch_utils import config as configs
from torch_utils import distributed, launch, runs
from torch_utils.cli import counted
from torch_utils.device import reserve_workspace, resolve_device, resolve_precision, slow_precision
from torch_utils.distributed import PATIENCE
from training import batch_gpu
from training.agreement import agree_on, see_the_same
from training.config import RunConfig
from training.course import Asked, Course
from training.courses import DEFAULT, find
from training.machine import INEXACT, ROUNDING, rounding_notes
from training.shares import check_rounds, largest_divisor, share_of
from training.signs import duration
from training.state import Data, State, read_state
from training.trial import check_passes

# May change when a run is resumed: nothing here decides a number of the run.
CHANGEABLE = {
    *("pace.kimg", "pace.tick", "pace.snap", "pace.state_minutes", "pace.light_files"),
    *("workers", "patience", "checkpoint_activations", "metrics"),
}

FOLDER_NOTICE = "run folder"  # tells processes that torchrun starts again which run they were training


@dataclass
class Plan:
    """Everything that is settled before anything is built. The session drops `state` and `network` once loaded."""

    config: RunConfig
    sets: dict[str, ImageSet]  # by name, as in `config.sets`; the first is "data"
    device: torch.device  # of this process
    outdir: Path
    folder: Path | None = None  # of the run that is resumed
    state: State | None = None
    network: NetworkFile | None = None  # a new run starts from its weights
    notes: tuple[str, ...] = ()
    started: bool = False  # whether the first step is about to be taken

    @property
    def course(self) -> Course:
        """What the engine knows of the model."""
        return find(self.config.model)

    @property
    def dataset(self) -> ImageSet:
        """The first image set."""
        return self.sets["data"]

    @property
    def resumed(self) -> bool:
        """Whether the run was begun earlier."""
        return self.folder is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What the files of the run say about it."""
        data, *others = (_facts(dataset) for dataset in self.sets.values())
        return {
            "training": configs.to_dict(self.config),
            "data": data,
            **({"sets": dict(zip(list(self.sets)[1:], others, strict=True))} if others else {}),
            "torch": torch.__version__,
            "operators": build.implementation(self.device),
        }

    def describe(self) -> str:
        """The resolved configuration and the networks, as tables."""
        tables = {"": configs.table(self.config)}
        for part in self.course.family.parts.values():
            config = getattr(self.config, part.config_name, None)
            if config is not None and part.config_name not in tables:
                with torch.device("meta"):
                    network = part.build(config).eval()
                title, example = part.config_name.capitalize(), part.example(config)
                tables[part.config_name] = summary(title, network, example)
        return "\n\n".join(tables.values())


def begin(given: Mapping[str, Any], outdir: Path, network: Path | str | None = None) -> Plan:
    """Plan a new run.

    Args:
        given: settings by dotted name.
        outdir: where runs are kept.
        network: the place of a trained network to start from.

    Raises:
        ValueError, FileNotFoundError: data or options do not fit; nothing has been written then.
    """
    model = given.get("model", DEFAULT)
    course = find(model)
    values = {**course.models[model], **given, "model": model, "data.path": given.get("data.path", "demo")}
    values |= {name: _absolute(value) for name, value in values.items() if name.endswith(".path")}
    preset = given.get("preset") or ("demo" if _is_demo(values["data.path"]) else "auto")
    sets = _open_sets(course.config, values)
    dataset = sets["data"]
    if unfit := course.fits((dataset.height, dataset.width)):
        better = dataset.resized(*usual_size(dataset.height, dataset.width))
        raise ValueError(f"{values['data.path']}: {unfit}: {better}")
    if given.get("deterministic"):
        reserve_workspace()  # before anything is computed on a GPU
    device = distributed.start(resolve_device(given.get("device", "auto")), given.get("patience", PATIENCE))
    agree_on({**given, "--resume": "none", "--transfer": "none" if network is None else "given"}, course.config)
    values |= {
        "device": device.type,
        "precision": resolve_precision(given.get("precision", "auto"), device, training=True),
        "workers": given.get("workers", loader.default_workers(dataset, on_cpu=device.type == "cpu")),
    }
    shape, *others = (Shape.of(each) for each in sets.values())
    named = dict(zip(list(sets)[1:], others, strict=True))
    asked = Asked(preset, shape, values, distributed.world(), len(dataset), network is not None, named)
    found = ""
    if values.get("pace.batch_gpu") == "auto":
        began = time.monotonic()
        pace = batch_gpu.largest(batch_gpu.candidates(course.settle, asked), device).pace
        asked = asked._replace(given=values | {"pace.batch_gpu": pace.batch_gpu})
        images = counted(pace.batch // distributed.world(), "image")
        took = duration(time.monotonic() - began)
        found = f"--batch-gpu auto: {pace.batch_gpu} of {images} at once, found in {took}"
    config, notes = course.settle(asked)
    share = share_of(config.pace.batch, distributed.world())
    check_rounds(config.pace.batch_gpu, share, config.pace.batch)
    agree_on(configs.flatten(config), course.config)
    check_passes(config)
    for each in sets.values():
        see_the_same(each)
    said = [dataset.labels_note, *(note for each in sets.values() for note in each.notes), found, *notes]
    said.append(slow_precision(config.arithmetic, device))
    file = None if network is None else _open_transfer(course, network, config)
    return Plan(config, sets, device, outdir, network=file, notes=tuple(filter(None, said)))


def _open_sets(model: type[RunConfig], values: Mapping[str, Any]) -> dict[str, ImageSet]:
    """The image sets of a configuration, by the name of the field; "data" is the first."""
    sets = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, DataConfig):
            own = {key.removeprefix(f"{name}."): v for key, v in values.items() if key.startswith(f"{name}.")}
            kind = type(field.default)
            sets[name] = open_dataset(configs.build(kind, configs.flatten(field.default) | own))
    return sets


def _open_transfer(course: Course, place: Path | str, config: RunConfig) -> NetworkFile:
    if course.transfer is None:
        raise ValueError(f"--transfer does not apply to {config.model}: leave it out")
    file = read_network(place)
    file.require(course.family, f"--transfer to {config.model}")
    course.transfer.check(file, config)
    return file


def interrupted() -> Path | None:
    """The run that this launch was training when `torchrun` started the processes again, if a state was saved."""
    folder = launch.read_note(FOLDER_NOTICE)
    return Path(folder) if folder is not None and runs.has_state(Path(folder)) else None


def again(folder: Path, given: Mapping[str, Any], changed_data: bool = False) -> Plan:
    """Plan to continue an interrupted run, whose options are given again."""
    allowed = CHANGEABLE | ROUNDING
    changes = {name: value for name, value in given.items() if name in allowed or name.endswith(".path")}
    return resume(str(folder), changes, folder.parent, changed_data)


def resume(text: str, given: Mapping[str, Any], outdir: Path, changed_data: bool = False) -> Plan:
    """Plan to resume a run.

    Args:
        text: the run folder, its state file, or `latest`.
        given: settings by dotted name.
        outdir: where `latest` is looked for.
        changed_data: go on although the images are others than before, if they fit the networks.

    Raises:
        ValueError, FileNotFoundError: there is no whole state, an option contradicts it, or the data have changed.
    """
    where = runs.resolve(text, outdir)
    state = read_state(where)
    model = type(state.config)
    before = configs.flatten(state.config)
    values = dict(before)
    for name, value in given.items():
        if name.endswith(".path"):
            values[name] = _absolute(value)  # the data may have been moved; `_same_data` compares them
        elif not (value == "auto" and name in ("device", "precision", "pace.batch_gpu")):
            if value != values[name] and name not in CHANGEABLE | ROUNDING:
                raise ValueError(
                    f"{configs.flag_of(model, name)} is {configs.spell(value)}, but this run has "
                    f"{configs.spell(values[name])}: leave the option out to resume, or start a new run without "
                    f"--resume"
                )
            values[name] = value
    if values["deterministic"]:
        reserve_workspace()
    device = distributed.start(resolve_device(values["device"]), values["patience"])
    agree_on({**given, "--resume": "given", "--transfer": "none"}, model)
    if not distributed.agree(int(state.digest[:15], 16)):
        raise ValueError(f"the processes found different states in {where.run}: give all machines the same folder")
    notes = [state.note, *rounding_notes(state.facts, before, values, device, model)]
    if state.facts.world != distributed.world():
        notes.append(_deal_anew(values, state.facts.world))
    config = configs.build(model, values)
    agree_on(configs.flatten(config), model)
    sets = {}
    for name, data in config.sets.items():
        known = state.facts.data if name == "data" else state.facts.sets[name]
        flag = configs.flag_of(model, f"{name}.path")
        sets[name], note = _same_data(data, flag, known, config.shapes[name], changed_data)
        notes.append(note)
        see_the_same(sets[name])
    return Plan(config, sets, device, outdir, where.run, state, notes=tuple(filter(None, notes)))


def _same_data(config: DataConfig, flag: str, before: Data, shape: Shape, changed: bool) -> tuple[ImageSet, str]:
    """The images of a resumed run, and a note if they have changed and may (then they must have the shape)."""
    path = config.path
    try:
        dataset = open_dataset(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the data of this run are no longer at {path}: say where with {flag}") from error
    if dataset.is_known_as(before.fingerprint):
        return dataset, ""
    if not changed:
        raise ValueError(
            f"{path} has changed since this run was stopped, or is another set: bring the old data back, "
            f"start a new run with --transfer, or insist with --changed-data"
        )
    now = Shape(dataset.height, dataset.width, dataset.channels, dataset.classes)
    if now != shape or list(dataset.class_names) != before.class_names:
        raise ValueError(
            f"{path} has another size, other channels or other classes than this run learned: "
            f"start a new run with --transfer"
        )
    counts = f"{counted(before.images, 'image')} before, {len(dataset)} now"
    return dataset, f"the data have changed ({counts}), and the run continues with them: from here it is another run"


def _deal_anew(values: dict[str, Any], before: int) -> str:
    """Deal the batch of a resumed run to another number of processes; return a sentence about it."""
    world = distributed.world()
    values["pace.batch_gpu"] = largest_divisor(share_of(values["pace.batch"], world), values["pace.batch_gpu"])
    return f"this run had {before} processes and continues with {world}: {INEXACT}"


def _facts(dataset: ImageSet) -> dict[str, Any]:
    found = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "images": len(dataset),
        "class_names": list(dataset.class_names),
    }
    if dataset.classes:  # pictures of each class
        found["class_counts"] = (dataset.label_counts // (2 if dataset.mirror else 1)).tolist()
    return found


def _absolute(path: str) -> str:
    """A path that still holds when the run is resumed from another folder."""
    return path if _is_demo(path) or "://" in path else str(real_path(path))


def _is_demo(path: str) -> bool:
    return path == "demo" or path.startswith("demo:")
