"""The row of style transfer in the table of what can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from models.adain import encoders
from models.adain.config import StyleConfig
from models.adain.encoderfiles import find
from models.adain.family import FAMILY
from models.families import read_network
from models.networkfile import NetworkFile
from torch_utils.config import build
from training.adain import encoding
from training.adain import recipe as learning
from training.adain.config import AdaINRun, StyleEncoderRun
from training.config import check_rounds, largest_divisor, share_of
from training.course import Asked, Course, check_same
from training.signs import Chart, Means, Signs, Watch, skipped_steps

SLOWER = "a smaller --lr"


def settle(asked: Asked) -> tuple[AdaINRun, tuple[str, ...]]:
    """The resolved configuration of a run. Raises ValueError for settings that do not fit."""
    others = asked.others.get("styles", asked.shape)
    if asked.shape.channels != 3 or others.channels != 3:
        raise ValueError("--model adain learns from RGB pictures: convert gray ones, and those with transparency")
    row = {"pace.kimg": 1280.0, "pace.batch": 8, "pace.tick": 2.0, "pace.sheet": 64}  # 160,000 iterations
    if asked.preset == "demo":
        row |= {"pace.kimg": 4.0, "pace.tick": 0.2, "pace.snap": 5, "optimizer.lr": 1e-3}
    notes: tuple[str, ...] = ()
    place = asked.given.get("encoder")
    if place and asked.transfer:
        raise ValueError("--encoder does not apply to --transfer, which takes the network's own: leave it out")
    if place:
        sizes, scaled = _encoder(place)
        row |= sizes
        notes = () if scaled else (f"the features of --encoder {place} are divided by their means on --data",)
    elif not asked.transfer:
        notes = ("no --encoder is given: the features are those of random weights, which tell less of style",)
    values = {**row, **asked.given, "preset": asked.preset, "contents": (*asked.shape,), "paintings": (*others,)}
    return build(AdaINRun, values | {"pace.batch_gpu": _at_once(values, asked, 8)}), notes


def _at_once(values: dict[str, Any], asked: Asked, most: int) -> int:
    """Pictures computed together: those asked for, else at most so many. Raises ValueError if rounds are not whole."""
    batch = int(values["pace.batch"])
    share = share_of(batch, asked.world)
    found: int = asked.given.get("pace.batch_gpu") or largest_divisor(share, most)
    check_rounds(found, share, batch)
    return found


@cache
def _encoder(place: str) -> tuple[dict[str, Any], bool]:
    """Settings of an encoder's sizes, and whether its features are scaled."""
    file = read_network(find(place))
    config = encoders.encoder_of(file, f"--encoder {place}").config
    sizes = {f"style.{name}": value for name, value in config if name != "unbiased"}  # which is the decoder's
    return sizes, not file.metadata.get("source", {}).get(encoders.UNSCALED)


def check_transfer(file: NetworkFile, config: AdaINRun) -> None:
    """Raise ValueError unless a network has an encoder and a decoder of the sizes of a configuration."""
    if "adain" not in file.parts:
        raise ValueError(f"--transfer {file}: it is an encoder alone: give it as --encoder")
    check_same(file, config)


def smallest(config: Any) -> Any:
    """The same configuration with a network of next to nothing."""
    sizes = {"widths": (2,) * len(config.style.widths), "depths": (1,) * len(config.style.depths)}
    return config.model_copy(update={"style": StyleConfig(**{**config.style.model_dump(), **sizes})})


def _rises(means: Sequence[Means]) -> str:
    first, last = means[0]["loss/style"], means[-1]["loss/style"]
    return f"the style loss has risen from {first:.3g} to {last:.3g}" if last > 1.2 * first else ""


COURSE = Course(
    title="AdaIN",
    family=FAMILY,
    config=AdaINRun,
    models={"adain": {}},
    settle=settle,
    recipe=lambda config, facts, device: learning.StyleTransfer(config, facts, device),
    smallest=smallest,
    check_transfer=check_transfer,
    smaller="smaller pieces: --set data.crop=128 --set styles.crop=128",
    signs=Signs(
        shown={"loss/content": "content", "loss/style": "style"},
        charts=(
            Chart("Losses", ("loss/content", "loss/style"), "both fall; style falls more"),
            Chart("Style by layer", ("style/relu*",), "all fall"),
            Chart("Held-out pairs", ("held out/*",), "fall as the losses do"),
        ),
        watches=(Watch("the style loss rises", ("loss/style",), _rises, SLOWER), skipped_steps(SLOWER)),
        diversity=False,
    ),
)


def settle_encoder(asked: Asked) -> tuple[StyleEncoderRun, tuple[str, ...]]:
    """The resolved configuration of a run of --model style-encoder. Raises ValueError for settings that do not fit."""
    if asked.shape.channels != 3 or min(asked.shape.height, asked.shape.width) < 2:
        raise ValueError("--model style-encoder learns from RGB pictures of 2 pixels or more: convert them first")
    row = {"pace.kimg": 100.0, "pace.batch": 16, "pace.tick": 1.0, "pace.snap": 10, "pace.sheet": 64}
    row |= {"optimizer.lr": 1e-3}
    values = {**row, **asked.given, "preset": asked.preset, "textures": (*asked.shape,)}
    at_once = _at_once(values, asked, int(values["pace.batch"]))  # all: they are contrasted
    if values["pace.batch"] < 2:
        raise ValueError("--model style-encoder contrasts pictures: give --batch 2 or more")
    return build(StyleEncoderRun, values | {"pace.batch_gpu": at_once}), ()


ENCODER = Course(
    title="style encoder",
    family=FAMILY,
    config=StyleEncoderRun,
    models={"style-encoder": {}},
    settle=settle_encoder,
    recipe=lambda config, facts, device: encoding.StyleEncoder(config, facts, device),
    smallest=smallest,
    smaller="smaller pictures, such as --data textures:128",
    signs=Signs(
        shown={"loss/contrast": "contrast", "loss/picture": "picture"},
        charts=(
            Chart("Losses", ("loss/contrast", "loss/picture"), "both fall"),
            Chart("Pictures recognized", ("right/relu*", "held out/right *"), "all rise"),
        ),
        watches=(skipped_steps(SLOWER),),
        diversity=False,
    ),
)

COURSES = (COURSE, ENCODER)
