"""The row of StyleGAN2 in the table of what can be trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.networkfile import NetworkFile
from models.stylegan2 import adaptation
from models.stylegan2.config import fits
from models.stylegan2.family import FAMILY
from torch_utils import distributed
from torch_utils.cli import counted
from torch_utils.config import flag_of
from training.course import Asked, Course
from training.stylegan2 import config as presets
from training.stylegan2 import recipe as learning
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.signs import SIGNS

# Below this number of images a run learns nothing but these images. StyleGAN2-ADA worked with some thousand images,
# and with some hundred when it started from trained networks.
TOO_FEW, TOO_FEW_AFTER_TRANSFER = 500, 100


def settle(asked: Asked) -> tuple[StyleGAN2Config, tuple[str, ...]]:
    """The resolved configuration of a run. Raises ValueError for settings that do not fit."""
    for part in ("generator", "discriminator"):
        for name, value in asked.shape._asdict().items():
            if asked.given.get(f"{part}.{name}", value) != value:
                raise ValueError(f"--set {part}.{name} comes from the data, where it is {value}: leave it out")
    if asked.given.get("optimizer.freeze_d") and not asked.transfer:
        raise ValueError("--freeze-d keeps layers of a trained D unchanged: give --transfer with it")
    # After transfer the average starts from a trained network, and D may soon know the images.
    defaults = {"average.ramp": 0.0, "augment.ada_kimg": 100.0} if asked.transfer else {}
    shape, given = asked.shape._asdict(), defaults | dict(asked.given)
    config = presets.resolve(asked.row, shape, given, asked.world, asked.images)
    mode = config.augment.mode
    for name in config.augment.idle:
        if f"augment.{name}" in asked.given:
            option = flag_of(StyleGAN2Config, f"augment.{name}")
            raise ValueError(f"{option} has no effect with --aug {mode}: leave it out, or give --aug ada")
    return config, (*asked.row_notes, *_notes(asked, config))


def _notes(asked: Asked, config: StyleGAN2Config) -> Iterator[str]:
    """Sentences about a data set of few images."""
    mode, mirror = config.augment.mode, config.data.mirror
    count = (asked.images or 0) // (2 if mirror else 1)
    images = counted(count, "image")
    if mode != "none" and "augment.mode" not in asked.given and asked.images is not None:
        why = f"with only {images} D would soon learn them by heart, so it sees augmented ones"
        yield f"--aug {mode} is on: {why} (--aug none turns this off)"
    if asked.images is not None and count < (TOO_FEW_AFTER_TRANSFER if asked.transfer else TOO_FEW):
        ways = ["more images, some hundred at least"]
        ways += [] if asked.transfer else ["--transfer from a network trained on similar images"]
        ways += [] if mirror else ["--mirror"]
        why = "D learns so few by heart, also when they are augmented, and G can only repeat them"
        yield f"{images} will hardly do: {why}; what helps: {', '.join(ways)}"


def smallest(config: StyleGAN2Config) -> StyleGAN2Config:
    """The same configuration with networks of next to nothing."""
    size = {"height": 8, "width": 8, "channel_base": 32, "channel_max": 8, "mapping_layers": 1}
    G = config.generator.model_copy(update=size | {"z_dim": 8, "w_dim": 8})
    return config.model_copy(update={"generator": G, "discriminator": config.discriminator.model_copy(update=size)})


def check_transfer(file: NetworkFile, config: StyleGAN2Config) -> None:
    """Check that `take` will work. Raises ValueError if the networks of the file do not fit the run."""
    found: adaptation.Misfits = {}
    parts: dict[str, Any] = {name: file.part(name) for name in file.parts}
    try:
        for name, network in parts.items():
            kind = "discriminator" if name == "D" else "generator"
            found |= adaptation.misfits(kind, network.config, getattr(config, kind))
        if found:
            raise ValueError(adaptation.differing(found))
    except ValueError as error:
        raise ValueError(f"{file} cannot be taken: {error}") from error
    if not config.optimizer.freeze_d:
        return
    if "D" not in file.parts:
        raise ValueError(f"{file} has no D whose layers --freeze-d could leave as they are: leave --freeze-d out")
    if parts["D"].config.doublings != config.discriminator.doublings:
        other = f"the images have another size than those of {file}"
        raise ValueError(f"--freeze-d would freeze layers that start anew, for {other}: leave --freeze-d out")


def take(file: NetworkFile, recipe: learning.StyleGAN2) -> str:
    """Load the weights of a checked file into a fresh recipe, G from G_ema if need be; return a sentence about it."""
    taken: list[str] = []
    changes: list[str] = []
    for name, network in recipe.networks.items():
        source = name if name in file.parts else "G_ema"
        if name == "D" and "D" not in file.parts:
            continue
        adapt: Any = adaptation.adapt_discriminator if name == "D" else adaptation.adapt_generator
        state, changes = adapt(file.part(source), network)
        network.load_state_dict(state)
        distributed.broadcast_(list(network.state_dict().values()))  # the file may differ between machines
        taken.append(name if source == name else f"{name} (from {source})")
    reason = f" that can be taken ({file.left_out['D']})" if "D" in file.left_out else ""
    missing = "" if "D" in file.parts else f"; it has no D{reason}, which starts anew"
    anew = f"; for {' and '.join(changes)}, what has no counterpart starts anew" if changes else ""
    return f"took {', '.join(taken)} from {file}{missing}{anew}"


COURSE = Course(
    title="StyleGAN2",
    family=FAMILY,
    config=StyleGAN2Config,
    models={"stylegan2": {}},
    settle=settle,
    recipe=lambda config, facts, device: learning.StyleGAN2(config, facts.label_counts, device),
    smallest=smallest,
    smaller="smaller networks (--preset small) or smaller pictures",
    signs=SIGNS,
    check_transfer=check_transfer,
    take=take,
    fits=fits,
)
