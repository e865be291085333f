"""The row of style transfer in the table of families, and the files of naoto0804's program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models import networkfile
from models.adain import encoders, network, restyler, stylegraphs
from models.adain.config import StyleConfig
from models.adain.encoderfiles import (
    NAOTO,
    PUBLISHED,
    TORCHVISION,
    NormalizeOptions,
    find,
    is_of_naoto,
    is_of_torchvision,
)
from models.family import Family, Part
from models.foreign import NOTHING, Converted, Foreign, Format, Job, Notes
from models.graphformats import graph_formats
from models.sampler import Options, Shape
from system.files import replacing
from torch_utils import torchfile
from torch_utils.config import flag

ENCODER = "of a decoder's file: its encoder, such as vgg_normalised.pth"
LAST = "28.weight"  # the decoder's last convolution, [3, 64, 3, 3]


class EncoderOptions(Options):
    """What the file of a decoder does not hold."""

    encoder: str = flag("", "--encoder", "Networks", ENCODER)


def _claims(contents: Any) -> bool:
    return isinstance(contents, dict) and isinstance(contents.get(LAST), torch.Tensor) and "0.weight" not in contents


def _convert(contents: dict[str, Any], path: Path, options: EncoderOptions) -> Converted:
    """A decoder and its encoder as one network; the deviation is the unbiased one of that program."""
    if not options.encoder:
        raise ValueError("it holds a decoder alone: name its encoder, as in --encoder vgg_normalised.pth")
    encoder = encoders.encoder_of(networkfile.read(find(options.encoder), {FAMILY.name: FAMILY}, NOTHING), "--encoder")
    config = encoder.config.model_copy(update={"unbiased": True})
    with torch.device("meta"):
        built = network.AdaIN(config)
    found = torchfile.plain_tensors(contents, "decoder", path.stat().st_size)
    for key, tensor in built.decoder.state_dict().items():
        if key not in found or found[key].shape != tensor.shape:
            shape, other = list(tensor.shape), f"it is the decoder of another encoder than {options.encoder}"
            raise ValueError(f"it lacks {key} of the shape {shape}: {other}")
    tensors = {f"adain.decoder.{key}": found[key] for key in built.decoder.state_dict()}
    tensors |= {f"adain.encoder.{key}": tensor for key, tensor in encoder.state_dict().items()}
    source = {"format": "naoto0804's pytorch-AdaIN", "encoder": Path(options.encoder).name}
    return Converted(FAMILY.name, {"style": config.model_dump(mode="json"), "source": source}, tensors)


def _write(job: Job) -> Notes:
    """The decoder as DEST.pth, and the encoder beside it, or an encoder alone; that program has one pair of sizes."""
    (given,) = (given for given in job.networks.values())
    config: Any = given.config
    if config.model_dump() != {**StyleConfig().model_dump(), "unbiased": config.unbiased}:
        raise ValueError(
            "naoto0804's program has VGG-19's encoder alone, and this network has another: take .safetensors"
        )
    files: dict[Path, torch.nn.Module] = {job.dest: given}
    notes = {job.dest: "the encoder, up to relu4_1"}
    if isinstance(given, network.AdaIN):
        beside = job.dest.with_name(f"{job.dest.stem}-encoder.pth")
        files = {job.dest: given.decoder, beside: given.encoder}
        notes = {job.dest: "the decoder", beside: "its encoder, up to relu4_1"}
    for path, part in files.items():
        with replacing(path) as file:
            torch.save({name: tensor.clone() for name, tensor in part.state_dict().items()}, file)
    return notes


def _example(config: StyleConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Arguments of the network: content and style."""
    return torch.zeros(1, 3, 32, 32, device="meta"), torch.zeros(1, 3, 32, 32, device="meta")


def _facts(config: StyleConfig) -> dict[str, str]:
    widths = ", ".join(map(str, config.widths))
    return {"encoder": f"{sum(config.depths)} convolutions of {widths} feature maps, and a mirrored decoder"}


FAMILY = Family(
    name="adain",
    title="AdaIN",
    parts={
        "adain": Part("style", StyleConfig, lambda c: network.AdaIN(c), "encoder and decoder", _example),
        "encoder": Part(
            "style",
            StyleConfig,
            lambda c: network.Encoder(c),
            "an encoder alone",
            lambda c: _example(c)[:1],
            optional=True,
        ),
    },
    shown=(),
    shape=lambda config: Shape(0, 0, 3, 0),
    facts=_facts,
    open_restyler=lambda net: restyler.StyleRestyler(net),
    foreign=(
        Foreign("naoto0804's pytorch-AdaIN", torchfile.begins_so, torchfile.read, _claims, _convert, EncoderOptions),
        *(
            Foreign(
                title,
                torchfile.begins_so,
                torchfile.read,
                claims,
                lambda *given: encoders.convert(*given),
                NormalizeOptions,
            )
            for title, claims in ((TORCHVISION, is_of_torchvision), (NAOTO, is_of_naoto))
        ),
    ),
    formats=(
        Format(".pth", "a .pth", _write),
        *(replace(form, one=False) for form in graph_formats(lambda job: stylegraphs.write(job))),
    ),
    published=PUBLISHED,
    tags=("style-transfer", "adain", "image-to-image", "safetensors"),
    task="image-to-image",
    script="stylize.py",
    command="--content photo.jpg --style painting.jpg",
    use=lambda config: "made = network(content, style, alpha=1.0)  # [N, 3, H, W] in [0, 1], of any two sizes",
)
