"""Transfer learning: a new run that starts from the weights of a trained network."""

from pathlib import Path

from models.families import NetworkFile, read_network
from models.stylegan2 import adaptation
from models.stylegan2.config import ImageConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.family import FAMILY
from models.stylegan2.generator import Generator
from torch_utils import distributed
from training.stylegan2.config import StyleGAN2Config
from training.stylegan2.recipe import StyleGAN2


def open_transfer(place: Path | str, config: StyleGAN2Config) -> NetworkFile:
    """Reads the network file and makes sure that `transfer` will work, before anything is written.

    Raises:
        FileNotFoundError, ValueError: when the file is not usable, or its networks do not fit this run.
    """
    file = read_network(place)
    file.require(FAMILY, "--transfer")
    found: adaptation.Misfits = {}
    try:
        for name in file.parts:
            kind = "discriminator" if name == "D" else "generator"
            theirs: ImageConfig = file.part(name).config  # type: ignore[assignment]
            found |= adaptation.misfits(kind, theirs, getattr(config, kind))
        if found:
            raise ValueError(adaptation.differing(found))
    except ValueError as error:
        raise ValueError(f"{file} cannot be taken: {error}") from error
    if config.optimizer.freeze_d:
        _check_freezing(file, config)
    return file


def _check_freezing(file: NetworkFile, config: StyleGAN2Config) -> None:
    if "D" not in file.parts:
        raise ValueError(f"{file} has no D whose layers --freeze-d could leave as they are: leave --freeze-d out")
    D: ImageConfig = file.part("D").config  # type: ignore[assignment]
    if D.doublings != config.discriminator.doublings:
        raise ValueError(
            "--freeze-d would freeze layers that start anew, for the images have another size than those of "
            f"{file}: leave --freeze-d out"
        )


def transfer(file: NetworkFile, recipe: StyleGAN2) -> str:
    """Loads the weights of a checked network file into a fresh recipe and returns a sentence that says what was taken.

    A file that holds only the averaged generator gives G too; D then starts anew.
    """
    taken: list[str] = []
    changes: list[str] = []
    for name, network in recipe.networks.items():
        source = name if name in file.parts else "G_ema"
        if name == "D" and "D" not in file.parts:
            continue
        state, changes = _adapted(file.part(source), network)
        network.load_state_dict(state)
        distributed.broadcast_(list(network.state_dict().values()))  # the file need not be the same on all machines
        taken.append(name if source == name else f"{name} (from {source})")
    reason = f" that can be taken ({file.left_out['D']})" if "D" in file.left_out else ""
    missing = "" if "D" in file.parts else f"; it has no D{reason}, which starts anew"
    anew = f"; for {' and '.join(changes)}, what has no counterpart starts anew" if changes else ""
    return f"took {', '.join(taken)} from {file}{missing}{anew}"


def _adapted(theirs: object, ours: object) -> adaptation.Adapted:
    if isinstance(theirs, Generator) and isinstance(ours, Generator):
        return adaptation.adapt_generator(theirs, ours)
    assert isinstance(theirs, Discriminator) and isinstance(ours, Discriminator)
    return adaptation.adapt_discriminator(theirs, ours)
