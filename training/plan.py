"""What a run will be, settled before anything is built: a new run, a resumed one, or one with trained weights."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from custom_ops import build
from imaging import loader
from imaging.dataset import DataConfig, is_embedded, open_dataset
from imaging.imageset import ImageSet, Latent
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
from torch_utils.launch import PATIENCE
from training import batch_gpu
from training.config import RunConfig, check_rounds, largest_divisor, share_of
from training.course import Asked, Course
from training.courses import DEFAULT, find
from training.signs import duration
from training.state import ROUNDING, Data, State, read_state, rounding_notes
from training.trial import check_passes

# May change when a run is resumed: nothing here decides a number of the run.
CHANGEABLE = {
    *("pace.kimg", "pace.tick", "pace.snap", "pace.state_minutes", "pace.light_files"),
    *("workers", "patience", "checkpoint_activations", "metrics"),
}
LOCAL = {"workers", "patience"}  # may differ between processes, as may paths

PLACES = (".path", ".codec")  # endings of settings that name a place on this machine
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

    def __post_init__(self) -> None:
        if self.dataset.latent is not None and self.course.decoder is not None:
            self.dataset.decoder = self.course.decoder(self.config, self.device)

    @property
    def course(self) -> Course:
        """What the engine knows of the model."""
        return find(self.config.model)

    @property
    def dataset(self) -> ImageSet:
        """The first image set."""
        return self.sets["data"]

    @property
    def facts(self) -> dict[str, Any]:
        """What the files of the run say about it."""
        others = {name: _facts(dataset) for name, dataset in self.sets.items() if name != "data"}
        return {
            "training": configs.to_dict(self.config),
            "data": _facts(self.dataset),
            **({"sets": others} if others else {}),
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
                tables[part.config_name] = summary(part.config_name.capitalize(), network, part.example(config))
        return "\n\n".join(tables.values())


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


def begin(given: Mapping[str, Any], outdir: Path, network: Path | str | None = None) -> Plan:
    """Plan a new run in `outdir` with settings by dotted name, from the weights of a trained `network` if there is one.

    Raises ValueError or FileNotFoundError if data or options do not fit; nothing has been written then.
    """
    model = given.get("model", DEFAULT)
    course = find(model)
    values = {**course.models[model], **given, "model": model, "data.path": given.get("data.path", "demo")}
    values |= {name: _absolute(value) for name, value in values.items() if name.endswith(PLACES)}
    preset = given.get("preset") or ("demo" if _is_demo(values["data.path"]) else "auto")
    sets = _open_sets(course.config, values)
    dataset = sets["data"]
    if unfit := course.fits((dataset.height, dataset.width)):
        better = dataset.resized(*usual_size(dataset.height, dataset.width))
        raise ValueError(f"{values['data.path']}: {unfit}: {better}")
    if course.decoder is None and any(each.latent for each in sets.values()):
        raise ValueError(f"{values['data.path']} holds latents, and --model {model} learns from pictures: give those")
    device = _start(given)
    values |= {
        "device": device.type,
        "precision": resolve_precision(given.get("precision", "auto"), device, training=True),
        "workers": given.get("workers", loader.default_workers(dataset, on_cpu=device.type == "cpu")),
    }
    same = {"device": device.type, "precision": values["precision"]}
    options = {"--resume": "none", "--transfer": "none" if network is None else "given"}
    _agree_on({**given, **same, **options}, sets, course.config)
    shapes = {name: Shape.of(each) for name, each in sets.items()}
    shape, world = shapes.pop("data"), distributed.world()
    asked = Asked(preset, shape, values, world, len(dataset), network is not None, shapes, dataset.latent)
    said = [dataset.labels_note, *(note for each in sets.values() for note in each.notes)]
    if values.get("pace.batch_gpu") == "auto":
        began = time.monotonic()
        pace = batch_gpu.largest(batch_gpu.candidates(course.settle, asked), device).pace
        asked = asked._replace(given=values | {"pace.batch_gpu": pace.batch_gpu})
        images, took = counted(pace.batch // world, "image"), duration(time.monotonic() - began)
        said.append(f"--batch-gpu auto: {pace.batch_gpu} of {images} at once, found in {took}")
    config, notes = course.settle(asked)
    check_rounds(config.pace.batch_gpu, share_of(config.pace.batch, world), config.pace.batch)
    check_passes(config)
    file = None if network is None else _open_transfer(course, network, config)
    said += [*notes, slow_precision(config.arithmetic, device)]
    return Plan(config, sets, device, outdir, network=file, notes=tuple(filter(None, said)))


def _open_sets(model: type[RunConfig], values: Mapping[str, Any]) -> dict[str, ImageSet]:
    """The image sets of a configuration, by the name of the field; "data" is the first."""
    sets = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, DataConfig):
            own = {key.removeprefix(f"{name}."): v for key, v in values.items() if key.startswith(f"{name}.")}
            sets[name] = open_dataset(configs.build(type(field.default), configs.flatten(field.default) | own))
    return sets


def _open_transfer(course: Course, place: Path | str, config: RunConfig) -> NetworkFile:
    if course.take is None:
        raise ValueError(f"--transfer does not apply to {config.model}: leave it out")
    file = read_network(place)
    file.require(course.family, f"--transfer to {config.model}")
    course.check_transfer(file, config)
    return file


def _start(values: Mapping[str, Any]) -> torch.device:
    """Join the other processes; return the device of this one."""
    if values.get("deterministic"):
        reserve_workspace()  # before anything is computed on a GPU
    return distributed.start(resolve_device(values.get("device", "auto")), values.get("patience", PATIENCE))


def _agree_on(values: Mapping[str, Any], sets: Mapping[str, ImageSet], model: type[RunConfig]) -> None:
    """Raises ValueError unless all processes have the same settings, options and images. Every process must call it."""
    mine = {name: configs.spell(value) for name, value in values.items() if not name.endswith(PLACES)}
    mine |= {f"{name}.path": f"images {dataset.fingerprint[:8]}" for name, dataset in sets.items()}
    everybody = [json.loads(text) for text in distributed.texts(json.dumps(mine))]
    found = []
    for name in sorted(set().union(*everybody) - LOCAL):
        each = dict.fromkeys(values.get(name, "not given") for values in everybody)
        if len(each) > 1:
            option = name if name.startswith("--") else configs.flag_of(model, name)
            found.append(f"{option} ({' and '.join(each)})")
    if found:
        mend = "start all of them with the same command and the same files"
        raise ValueError(f"the processes have different settings, {', '.join(found)}: {mend}")


def restarted(given: Mapping[str, Any], changed_data: bool = False) -> Plan | None:
    """Plan to continue the run, if it saved a state, whose processes `torchrun` has started again."""
    folder = Path(launch.read_note(FOLDER_NOTICE) or "")
    if not folder.name or not runs.has_state(folder):
        return None
    allowed = CHANGEABLE | ROUNDING
    changes = {name: value for name, value in given.items() if name in allowed or name.endswith(PLACES)}
    return resume(str(folder), changes, folder.parent, changed_data)


def resume(text: str, given: Mapping[str, Any], outdir: Path, changed_data: bool = False) -> Plan:
    """Plan to resume a run: a folder, a state file, or the `latest` in `outdir`.

    With `changed_data` the images may be others than before, if they fit the networks. Raises ValueError or
    FileNotFoundError if there is no whole state, a setting that is `given` contradicts it, or the data have changed.
    """
    where = runs.resolve(text, outdir)
    state = read_state(where)
    model, before = type(state.config), configs.flatten(state.config)
    values = dict(before)
    for name, value in given.items():
        if name.endswith(PLACES):
            values[name] = _absolute(value)  # the data may have been moved; `_same_data` compares them
        elif not (value == "auto" and name in ("device", "precision", "pace.batch_gpu")):
            if value != values[name] and name not in CHANGEABLE | ROUNDING:
                flag, spelled, has = configs.flag_of(model, name), configs.spell(value), configs.spell(values[name])
                raise ValueError(f"{flag} is {spelled}, but this run has {has}: leave it out, or start a new run")
            values[name] = value
    device = _start(values)
    notes = [state.note, *rounding_notes(state.facts, before, values, device, model)]
    share = share_of(values["pace.batch"], distributed.world())
    values["pace.batch_gpu"] = largest_divisor(share, values["pace.batch_gpu"])  # the number of processes may differ
    config, sets = configs.build(model, values), {}
    for name, data in config.sets.items():
        known = state.facts.data if name == "data" else state.facts.sets[name]
        flag = configs.flag_of(model, f"{name}.path")
        sets[name], note = _same_data(data, flag, known, config.shapes[name], config.latent, changed_data)
        notes.append(note)
    same = {"device": device.type, "precision": config.precision}
    _agree_on({**given, **same, "--resume": f"state {state.digest[:8]}", "--transfer": "none"}, sets, model)
    return Plan(config, sets, device, outdir, where.run, state, notes=tuple(filter(None, notes)))


def _same_data(
    config: DataConfig, flag: str, before: Data, shape: Shape, latent: Latent | None, changed: bool
) -> tuple[ImageSet, str]:
    """The images of a resumed run, and a note if they have changed and may (then they must have the shape)."""
    path = config.path
    try:
        dataset = open_dataset(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the data of this run are no longer at {path}: say where with {flag}") from error
    if dataset.is_known_as(before.fingerprint):
        return dataset, ""
    if not changed:
        ways = "bring the old data back, start a new run with --transfer, or insist with --changed-data"
        raise ValueError(f"{path} has changed since this run was stopped, or is another set: {ways}")
    if Shape.of(dataset) != shape or dataset.latent != latent or list(dataset.class_names) != before.class_names:
        other = "another size, other channels or other classes than this run learned"
        raise ValueError(f"{path} has {other}: start a new run with --transfer")
    counts = f"{counted(before.images, 'image')} before, {len(dataset)} now"
    return dataset, f"the data have changed ({counts}), and the run continues with them: from here it is another run"


def _absolute(path: str) -> str:
    """A path that still holds when the run is resumed from another folder."""
    return path if is_embedded(path) or "://" in path else str(real_path(path))


def _is_demo(path: str) -> bool:
    return path == "demo" or path.startswith("demo:")
