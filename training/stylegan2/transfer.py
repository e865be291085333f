"""Transfer learning: a new run that starts from the weights of a trained network."""

from typing import Any

from models.networkfile import NetworkFile
from models.stylegan2 import adaptation
from models.stylegan2.config import ImageConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from torch_utils import distributed
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2


def check(file: NetworkFile, config: StyleGAN2Config) -> None:
    """Check that `take` will work. Raises ValueError if the networks of the file do not fit the run."""
    found: adaptation.Misfits = {}
    try:
        for name in file.parts:
            kind = "discriminator" if name == "D" else "generator"
            found |= adaptation.misfits(kind, _config(file, name), getattr(config, kind))
        if found:
            raise ValueError(adaptation.differing(found))
    except ValueError as error:
        raise ValueError(f"{file} cannot be taken: {error}") from error
    if not config.optimizer.freeze_d:
        return
    if "D" not in file.parts:
        raise ValueError(f"{file} has no D whose layers --freeze-d could leave as they are: leave --freeze-d out")
    if _config(file, "D").doublings != config.discriminator.doublings:
        raise ValueError(
            "--freeze-d would freeze layers that start anew, for the images have another size than those of "
            f"{file}: leave --freeze-d out"
        )


def take(file: NetworkFile, recipe: StyleGAN2) -> str:
    """Load the weights of a checked file into a fresh recipe; return a sentence about the weights taken.

    If the file holds only the averaged generator, G starts from it, too, and D starts anew.
    """
    taken: list[str] = []
    changes: list[str] = []
    for name, network in recipe.networks.items():
        source = name if name in file.parts else "G_ema"
        if name == "D" and "D" not in file.parts:
            continue
        state, changes = _adapted(file.part(source), network)
        network.load_state_dict(state)
        distributed.broadcast_(list(network.state_dict().values()))  # the file may differ between machines
        taken.append(name if source == name else f"{name} (from {source})")
    reason = f" that can be taken ({file.left_out['D']})" if "D" in file.left_out else ""
    missing = "" if "D" in file.parts else f"; it has no D{reason}, which starts anew"
    anew = f"; for {' and '.join(changes)}, what has no counterpart starts anew" if changes else ""
    return f"took {', '.join(taken)} from {file}{missing}{anew}"


def _config(file: NetworkFile, name: str) -> ImageConfig:
    config: Any = file.part(name).config
    assert isinstance(config, ImageConfig)
    return config


def _adapted(theirs: object, ours: object) -> adaptation.Adapted:
    if isinstance(theirs, Generator) and isinstance(ours, Generator):
        return adaptation.adapt_generator(theirs, ours)
    assert isinstance(theirs, Discriminator) and isinstance(ours, Discriminator)
    return adaptation.adapt_discriminator(theirs, ours)
