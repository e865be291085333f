"""From options to a run: begin, resume or transfer; then train."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imaging import loader
from imaging.dataset import DataConfig, open_dataset
from imaging.imageset import ImageSet
from imaging.sizes import spell
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.summary import summary
from torch_utils import config as configs
from torch_utils import distributed, runs
from torch_utils.device import is_out_of_memory, keep_freed_memory, resolve_device, resolve_precision, set_precision
from training import presets
from training.config import TrainConfig
from training.loop import fit
from training.run import Run, State, read_state
from training.samples import Samples
from training.stylegan2 import StyleGAN2
from training.transfer import transfer

FAMILY = "stylegan2"

# What may change when a run is resumed: nothing that decides a single number of it.
CHANGEABLE = {"pace.kimg", "pace.tick", "pace.snap", "pace.state_minutes", "workers"}


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before anything is built."""

    config: TrainConfig
    dataset: ImageSet
    device: torch.device  # of this process
    outdir: Path
    folder: Path | None = None  # of the run that is resumed
    state: State | None = None
    network: Path | None = None  # whose weights a new run takes over
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What the files of the run say about it."""
        d = self.dataset
        data = {"name": d.name, "fingerprint": d.fingerprint, "images": len(d), "class_names": list(d.class_names)}
        return {"training": configs.to_dict(self.config), "data": data, "torch": torch.__version__}

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


def begin(given: Mapping[str, Any], outdir: Path, network: Path | None = None) -> Plan:
    """Plans a new run from what the user gave, by dotted name.

    Raises:
        ValueError, FileNotFoundError: for data or options that do not fit; nothing has been written then.
    """
    path = given.get("data.path", "demo")
    preset = given.get("preset") or ("demo" if _is_demo(path) else "auto")
    data = {name: value for name, value in given.items() if name.startswith("data.")}
    data["data.path"] = _absolute(data.get("data.path", "demo:32" if preset == "demo" else "demo"))
    dataset = open_dataset(DataConfig(**{name.removeprefix("data."): value for name, value in data.items()}))
    device = distributed.start(resolve_device(given.get("device", "auto")))
    machine = {
        "device": device.type,
        "precision": resolve_precision(given.get("precision", "auto"), device),
        "workers": given.get("workers", loader.default_workers(dataset)),
    }
    if network is not None:
        machine["average.ramp"] = given.get("average.ramp", 0.0)  # the average starts from a trained network
    image = {name: getattr(dataset, name) for name in ("height", "width", "channels", "classes")}
    config = presets.resolve(preset, image, {**given, **data, **machine}, distributed.world())
    return Plan(config, dataset, device, outdir, network=network, notes=(dataset.labels_note, *dataset.notes))


def resume(text: str, given: Mapping[str, Any], outdir: Path) -> Plan:
    """Plans to go on with a run: its folder, its state file, or `latest`.

    Raises:
        ValueError, FileNotFoundError: when there is no whole state, when an option contradicts it, or when the data
            are not those it was trained on.
    """
    where = runs.resolve(text, outdir)
    state = read_state(where)
    config = configs.from_dict(TrainConfig, state.metadata["training"])
    values = configs.flatten(config)
    for name, value in given.items():
        value = _absolute(value) if name == "data.path" else value
        value = values[name] if value == "auto" else value
        if value != values[name] and name not in CHANGEABLE:
            raise ValueError(
                f"{configs.flag_of(TrainConfig, name)} is {configs.spell(value)}, but this run has "
                f"{configs.spell(values[name])}: leave the option out to resume, or start a new run without --resume"
            )
        values[name] = value
    config = configs.build(TrainConfig, values)
    device = distributed.start(resolve_device(config.device))
    dataset = open_dataset(config.data)
    known = state.metadata["data"]["fingerprint"]
    if dataset.fingerprint != known:
        raise ValueError(
            f"{config.data.path} has changed since this run was stopped (fingerprint {dataset.fingerprint}, it was "
            f"{known}): bring the old data back, or start a new run with --transfer"
        )
    notes = [state.note] if state.note else []
    if state.metadata["world"] != distributed.world():
        notes.append(
            f"this run had {state.metadata['world']} processes and goes on with {distributed.world()}, "
            f"so it will not be the same to the last bit"
        )
    return Plan(config, dataset, device, outdir, where.run, state, notes=tuple(notes))


def train(plan: Plan, command: str = "") -> Path | None:
    """Carries a plan out, and returns the run folder (None on processes that write nothing).

    Raises:
        ValueError: when memory does not suffice, or training has diverged.
    """
    folder = _folder(plan)
    try:
        return _train(plan, folder, command)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(_more_memory(plan.config)) from error
    finally:
        distributed.stop()


def _train(plan: Plan, folder: Path | None, command: str) -> Path | None:
    config, dataset, device, state = plan.config, plan.dataset, plan.device, plan.state
    set_precision(config.arithmetic)
    keep_freed_memory()
    torch.manual_seed(config.seed)  # of the initial weights; training itself draws statelessly
    recipe = StyleGAN2(config, torch.as_tensor(dataset.label_counts), device)
    samples = Samples(dataset, config.generator.z_dim, config.seed, config.pace.batch_gpu)
    clock = state.clock if state else None
    run = Run(folder, config.seed, device, FAMILY, plan.facts, samples, clock)
    run.stop_on_signals()
    if plan.network is not None:
        run.report.say(transfer(plan.network, recipe))
    if state is not None:
        recipe.load_state_dict(state.tree["recipe"])
        run.collector.load_state_dict(state.tree["stats"])
    _announce(plan, run, command)
    pace = config.pace
    batches = loader.batches(
        dataset,
        pace.batch,
        config.seed,
        run.clock.seen,
        distributed.rank(),
        distributed.world(),
        config.workers,
        pin=device.type == "cuda",
    )
    try:
        with closing(batches):
            fit(recipe, batches, run, pace)
        if run.clock.seen < pace.kimg * 1000:
            run.report.say(
                f"stopped at kimg {run.clock.seen / 1000:.3f}; go on with: python train.py --resume {folder}"
            )
    finally:
        run.close()
    return folder


def _folder(plan: Plan) -> Path | None:
    if not distributed.is_first():
        return None
    folder = plan.folder or runs.create(plan.outdir, f"{plan.dataset.name}-{plan.config.preset}")
    (folder / "config.json").write_text(configs.to_json(plan.config))
    return folder


def _announce(plan: Plan, run: Run, command: str) -> None:
    """Says what is about to happen; once, and in full, where a run begins."""
    d, say = plan.dataset, run.report.say
    if command:
        say(command)
    if plan.state is None:
        say(plan.describe())
        say()
        say(f"{len(d)} images {spell(d.height, d.width)}, {d.channels} channels, {d.classes or 'no'} classes: {d.name}")
        if run.folder is not None and run.samples is not None:
            run.samples.save(run.samples.reals(d), run.folder / "reals.png")
    for note in plan.notes:
        say(note)
    if plan.state is not None:
        say(f"resumed at kimg {run.clock.seen / 1000:.3f}")
    say(f"training to kimg {plan.config.pace.kimg:g} on {run.device} in {plan.config.precision}")
    say(f"files go to {run.folder}")


def _more_memory(config: TrainConfig) -> str:
    now = config.pace.batch_gpu
    smaller = [n for n in range(now // 2, 0, -1) if now % n == 0]
    if not smaller:
        return "out of memory with one image at a time: take a smaller --set generator.channel_base or a larger device"
    group = min(config.discriminator.mbstd_group, smaller[0])
    extra = "" if smaller[0] % config.discriminator.mbstd_group == 0 else f" --set discriminator.mbstd_group={group}"
    return f"out of memory with --batch-gpu {now}: try --batch-gpu {smaller[0]}{extra}"


def _meta_networks(config: TrainConfig) -> tuple[Generator, Discriminator]:
    with torch.device("meta"):
        return Generator(config.generator).eval(), Discriminator(config.discriminator).eval()


def _absolute(path: str) -> str:
    """A path that still holds when a run is resumed from another folder."""
    return path if _is_demo(path) else str(Path(path).expanduser().resolve())


def _is_demo(path: str) -> bool:
    return path == "demo" or path.startswith("demo:")
