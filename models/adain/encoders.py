"""Encoders from files of other programs, and their normalization."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

from imaging.archive import open_archive
from imaging.dataset import choose
from imaging.picture import decode
from models.adain.config import StyleConfig
from models.adain.encoderfiles import NAOTO, TORCHVISION, NormalizeOptions, is_of_torchvision
from models.adain.network import Encoder
from models.foreign import Converted
from models.networkfile import NetworkFile
from torch_utils import torchfile
from torch_utils.cli import progress

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's inputs
LEVELS = 4  # sizes of the features: up to relu4_1
MOST, SIDE = 1000, 256  # pictures that normalize an encoder, and the longer side they are reduced to
RARE = 1e-3
UNSCALED = "unscaled"  # key of `source` in the metadata of a file: the means of its features were never made 1


def encoder_of(file: NetworkFile, option: str) -> Encoder:
    """The encoder of a network file of the family, alone or with its decoder. Raises ValueError for other families."""
    if file.family.name != "adain":
        raise ValueError(f"{option} needs an encoder, but {file} holds a network of {file.family.title}")
    network: Any = file.part(file.parts[0])
    return network if isinstance(network, Encoder) else network.encoder


@torch.no_grad()
def normalize(encoder: Encoder, pictures: Iterable[Tensor]) -> int:
    """Scale the weights so that each feature has the mean 1 over pictures and positions (Gatys et al. 2016, section 2).

    ReLU and max pooling commute with positive factors, so each feature becomes the old one divided by its mean. One
    that is nearly always 0, with a mean below `RARE` of the layer's, is divided by the layer's: its own is of a few
    positions only.

    Args:
        encoder: changed in place.
        pictures: [1, 3, H, W] in [0, 1], of any sizes.

    Returns:
        The number of features that are nearly always 0.
    """
    layers = list(encoder)
    total = {i: torch.zeros((), dtype=torch.float64) for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU)}
    count = dict.fromkeys(total, 0)
    for x in pictures:
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in total:
                total[i] = total[i] + x.double().sum((0, 2, 3)).cpu()
                count[i] += x.shape[2] * x.shape[3]
    rare, before = 0, None
    for i in total:
        convolution = layers[i - 1]
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        mean = total[i] / count[i]
        average = mean.mean() if mean.any() else torch.ones((), dtype=mean.dtype)  # 1 for a layer that is never active
        low = mean < RARE * average
        rare += int(low.sum())
        mean = torch.where(low, average, mean).to(convolution.weight.device)
        weight = convolution.weight.double() / mean[:, None, None, None]
        convolution.weight.copy_(weight if before is None else weight * before[:, None, None])
        convolution.bias.copy_(convolution.bias.double() / mean)
        before = mean
    return rare


def _pictures(path: str) -> Iterator[Tensor]:
    """Pictures of a ZIP or folder, at most `MOST`, [1, 3, H, W] in [0, 1]."""
    archive = open_archive(path)
    names = [archive.names[i] for i in choose(len(archive.names), MOST)]
    for name in progress(names, len(names), "pictures"):
        image = decode(io.BytesIO(archive.read(name)), f"{name} in {path}", "RGB", enough=(SIDE, SIDE))
        image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def _read(found: Mapping[str, Tensor], raw: bool) -> tuple[StyleConfig, dict[str, Tensor]]:
    """Sizes and tensors of an encoder, from torchvision's VGG (`raw`) or naoto0804's vgg_normalised.pth.

    torchvision's normalization of the inputs becomes the convolution of the colors, which is exact. Both files may go
    on after relu4_1.
    """
    prefix = r"features\." if raw else ""
    places = {int(at[1]): name for name in found if (at := re.fullmatch(prefix + r"(\d{1,4})\.weight", name))}
    std = torch.tensor(STD, dtype=torch.float64)
    if raw:
        tensors = {"0.weight": torch.diag(1 / std)[:, :, None, None], "0.bias": -torch.tensor(MEAN).double() / std}
    else:
        tensors = {"0.weight": found[places.pop(0)], "0.bias": found["0.bias"]}
    config = _sizes({place: tuple(found[name].shape) for place, name in places.items()}, 2 if raw else 3)
    ours = [name.removesuffix(".weight") for name in _meta(config).state_dict() if name.endswith(".weight")]
    for own, place in zip(ours[1:], sorted(places), strict=False):
        theirs = places[place].removesuffix(".weight")
        tensors |= {f"{own}.{kind}": found[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    for name, tensor in _meta(config).state_dict().items():
        if tensors[name].shape != tensor.shape:
            raise KeyError(name)
    return config, {name: tensor.float() for name, tensor in tensors.items()}


def _sizes(convolutions: Mapping[int, tuple[int, ...]], step: int) -> StyleConfig:
    """Sizes of an encoder, from the shapes of its convolutions by their places; `step` is from one to the next."""
    widths, depths, last = list[int](), list[int](), -step - 1
    for place, shape in sorted(convolutions.items()):
        if place - last > step:  # a pooling is between them
            widths.append(shape[0])
            depths.append(0)
        depths[-1] += 1
        last = place
    widths, depths = widths[:LEVELS], depths[:LEVELS]
    return StyleConfig(widths=tuple(widths), depths=(*depths[:-1], 1))  # it ends at the first of the last size


def _meta(config: StyleConfig) -> Encoder:
    with torch.device("meta"):
        return Encoder(config)


def convert(contents: dict[str, Any], path: Path, options: NormalizeOptions) -> Converted:
    """An encoder of a file under our names. Raises ValueError for layers of another network than VGG."""
    raw = is_of_torchvision(contents)
    try:
        config, tensors = _read(torchfile.plain_tensors(contents, "encoder", path.stat().st_size), raw)
    except (IndexError, KeyError, ValidationError) as error:
        raise ValueError("its layers are not those of a VGG without batch normalization, such as vgg19") from error
    source: dict[str, Any] = {"format": TORCHVISION if raw else NAOTO}
    if options.normalize_on:
        encoder = Encoder(config)
        encoder.load_state_dict(tensors)
        rare = normalize(encoder, _pictures(options.normalize_on))
        tensors = dict(encoder.state_dict())
        source["format"] += f", features divided by their means on {Path(options.normalize_on).name}"
        source["format"] += f" ({rare} nearly always 0)" if rare else ""
    elif raw:
        source |= {"format": f"{TORCHVISION}, features of any size", UNSCALED: True}
    named = {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    return Converted("adain", {"style": config.model_dump(mode="json"), "source": source}, named)
