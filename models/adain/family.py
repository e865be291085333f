"""The row of style transfer in the table of families, and the files of naoto0804's program."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.adain.config import StyleConfig
from models.adain.network import AdaIN
from models.family import Family, Part
from models.foreign import Converted, Foreign, Format, Job, Notes
from models.sampler import Options, Shape
from system.files import replacing
from torch_utils import torchfile
from torch_utils.config import flag

ENCODER = "the encoder of a decoder's file: vgg_normalised.pth"
LAST = "28.weight"  # the decoder's last convolution, [3, 64, 3, 3]


class EncoderOptions(Options):
    """What the file of a decoder does not hold."""

    encoder: str = flag("", "--encoder", "Networks", ENCODER)


def _claims(contents: Any) -> bool:
    return isinstance(contents, dict) and isinstance(contents.get(LAST), Tensor) and "0.weight" not in contents


def _convert(contents: dict[str, Any], path: Path, options: EncoderOptions) -> Converted:
    """A decoder and its encoder as one network; the deviation is the unbiased one of that program."""
    if not options.encoder:
        raise ValueError("it holds a decoder alone: name its encoder, as in --encoder vgg_normalised.pth")
    if not Path(options.encoder).is_file():
        raise ValueError(f"there is no file {options.encoder}, which --encoder names")
    config = StyleConfig(unbiased=True)
    with torch.device("meta"):
        network = AdaIN(config)
    try:
        encoder = torchfile.read(Path(options.encoder))
    except ValueError as error:
        raise ValueError(f"its encoder {options.encoder} is refused: {error}") from error
    tensors = {}
    for name, state, file, wanted in (
        ("decoder", contents, path, network.decoder),
        ("encoder", encoder, Path(options.encoder), network.encoder),
    ):
        found = torchfile.plain_tensors(state, name, file.stat().st_size)
        for key, tensor in wanted.state_dict().items():
            if key not in found or found[key].shape != tensor.shape:
                raise ValueError(f"the {name} lacks {key} of the shape {list(tensor.shape)}: take the file of a {name}")
            tensors[f"adain.{name}.{key}"] = found[key]
    source = {"format": "naoto0804's pytorch-AdaIN", "encoder": Path(options.encoder).name}
    return Converted(FAMILY.name, {"style": config.model_dump(mode="json"), "source": source}, tensors)


def _write(job: Job) -> Notes:
    """The decoder as DEST.pth, and the encoder beside it; that program has one pair of sizes only."""
    network: Any = job.networks["adain"]
    if network.config.model_dump() != {**StyleConfig().model_dump(), "unbiased": network.config.unbiased}:
        raise ValueError(
            "naoto0804's program has VGG-19's encoder alone, and this network has another: take .safetensors"
        )
    encoder = job.dest.with_name(f"{job.dest.stem}-encoder.pth")
    for path, part in ((job.dest, network.decoder), (encoder, network.encoder)):
        with replacing(path) as file:
            torch.save({name: tensor.clone() for name, tensor in part.state_dict().items()}, file)
    return {job.dest: "the decoder", encoder: "its encoder, up to relu4_1"}


def _example(config: StyleConfig) -> tuple[Tensor, Tensor]:
    """Arguments of the network: content and style."""
    return torch.zeros(1, 3, 32, 32, device="meta"), torch.zeros(1, 3, 32, 32, device="meta")


def _facts(config: StyleConfig) -> dict[str, str]:
    widths = ", ".join(map(str, config.widths))
    return {"encoder": f"{sum(config.depths)} convolutions of {widths} feature maps, and a mirrored decoder"}


FAMILY = Family(
    name="adain",
    title="AdaIN",
    parts={"adain": Part("style", StyleConfig, AdaIN, "encoder and decoder", _example)},
    shown=(),
    shape=lambda config: Shape(0, 0, 3, 0),
    facts=_facts,
    foreign=(
        Foreign("naoto0804's pytorch-AdaIN", torchfile.begins_so, torchfile.read, _claims, _convert, EncoderOptions),
    ),
    formats=(Format(".pth", "a .pth", _write),),
    tags=("style-transfer", "adain", "image-to-image", "safetensors"),
    task="image-to-image",
    script="stylize.py",
    command="--content photo.jpg --style painting.jpg",
    use=lambda config: "made = network(content, style, alpha=1.0)  # [N, 3, H, W] in [0, 1], of any two sizes",
)
