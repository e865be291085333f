"""The row of StyleGAN2 in the table of what can be trained."""

from typing import Any

import torch

from models.stylegan2.config import fits
from models.stylegan2.family import FAMILY
from torch_utils.cli import counted
from torch_utils.config import flag_of
from training.course import Asked, Course, Facts, Settled, Transfer, check_learned
from training.stylegan2 import presets, transfer
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2
from training.stylegan2.signs import SIGNS

# Below this number of images a run learns nothing but these images. StyleGAN2-ADA worked with some thousand images,
# and with some hundred when it started from trained networks.
TOO_FEW, TOO_FEW_AFTER_TRANSFER = 500, 100


def settle(asked: Asked) -> Settled:
    """The resolved configuration of a run. Raises ValueError for settings that do not fit."""
    for part in ("generator", "discriminator"):
        for name, value in asked.shape._asdict().items():
            if asked.given.get(f"{part}.{name}", value) != value:
                raise ValueError(f"--set {part}.{name} comes from the data, where it is {value}: leave it out")
    if asked.given.get("optimizer.freeze_d") and not asked.transfer:
        raise ValueError("--freeze-d keeps layers of a trained D unchanged: give --transfer with it")
    config = presets.resolve(asked.preset, asked.shape._asdict(), _given(asked), asked.world, asked.images)
    for name in (f"augment.{name}" for name in config.augment.idle):
        if name in asked.given:
            option = flag_of(StyleGAN2Config, name)
            raise ValueError(
                f"{option} has no effect with --aug {config.augment.mode}: leave it out, or give --aug ada"
            )
    return Settled(config, tuple(_notes(asked, config)))


def _given(asked: Asked) -> dict[str, Any]:
    # After transfer the average starts from a trained network, and D may soon know the images.
    defaults = {"average.ramp": 0.0, "augment.ada_kimg": 100.0} if asked.transfer else {}
    return defaults | dict(asked.given)


def _notes(asked: Asked, config: StyleGAN2Config) -> list[str]:
    """Sentences about a data set of few images."""
    if asked.images is None:
        return []
    notes, mode = [], config.augment.mode
    images = counted(asked.images // (2 if config.data.mirror else 1), "image")
    if mode != "none" and "augment.mode" not in asked.given:
        notes.append(
            f"--aug {mode} is on: with only {images} D would soon learn them by heart, so it sees augmented ones "
            f"(--aug none turns this off)"
        )
    if asked.images // (2 if config.data.mirror else 1) < (TOO_FEW_AFTER_TRANSFER if asked.transfer else TOO_FEW):
        ways = ["more images, some hundred at least"]
        ways += [] if asked.transfer else ["--transfer from a network trained on similar images"]
        ways += [] if config.data.mirror else ["--mirror"]
        notes.append(
            f"{images} will hardly do: D learns so few by heart, also when they are augmented, and G can only repeat "
            f"them; what helps: {', '.join(ways)}"
        )
    return notes


def smallest(config: StyleGAN2Config) -> StyleGAN2Config:
    """The same configuration with networks of next to nothing."""
    size = {"height": 8, "width": 8, "channel_base": 32, "channel_max": 8, "mapping_layers": 1}
    G = config.generator.model_copy(update=size | {"z_dim": 8, "w_dim": 8})
    return config.model_copy(update={"generator": G, "discriminator": config.discriminator.model_copy(update=size)})


def recipe(config: StyleGAN2Config, facts: Facts, device: torch.device) -> StyleGAN2:
    return StyleGAN2(config, facts.label_counts, device)


def check_state(state: Any, recipe: StyleGAN2, begun: bool) -> None:
    """Check the learned state in a file; the first versions had no augmentations, so no "strength"."""
    check_learned(state, recipe, begun, added=frozenset({"strength"}))
    if "strength" in state:
        p, signs = state["strength"]["p"], state["strength"]["signs"]
        if not (0 <= float(p) <= 1 and bool(signs.isfinite().all())):
            raise ValueError("recipe.strength is not a probability and two finite numbers")


COURSE = Course(
    title="StyleGAN2",
    family=FAMILY,
    config=StyleGAN2Config,
    models={"stylegan2": {}},
    settle=settle,
    recipe=recipe,
    smallest=smallest,
    smaller="smaller networks: --set generator.channel_base=8192",
    signs=SIGNS,
    check_state=check_state,
    transfer=Transfer(transfer.check, transfer.take),
    fits=fits,
)
