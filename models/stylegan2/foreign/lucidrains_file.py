"""Files of lucidrains/stylegan2-pytorch: `model_N.pt`, and `.config.json` in the same folder."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from models.foreign import Converted
from models.stylegan2.foreign.lucidrains import LucidrainsConfig, LucidrainsGenerator
from models.stylegan2.foreign.lucidrains_attention import Form
from models.stylegan2.foreign.tensors import average_w, renamed, shape_of
from system.text import printable
from torch_utils import config as configs
from torch_utils.torchfile import plain_tensors

KEY = "GAN"  # of the state dict in a checkpoint
SIGN = "SE.net.0.weight"  # a tensor of every state dict
OPTIONS = ".config.json"
LARGEST_OPTIONS = 2**20  # bytes
_REMEDY = "replace it by the one of this network, or remove it"

_BEGIN = "GE.to_initial_block.weight"
_OURS = r"SE\.|GE\.(?!blocks\.\d+\.to_rgb\.upsample\.1\.f$)"  # the averaged networks, without the filter of images

_LAYER = {
    "to_style{}.weight": "conv.affine.weight",
    "to_style{}.bias": "conv.affine.bias",
    "conv{}.weight": "conv.weight",
    "to_noise{}.weight": "noise_gain",
    "to_noise{}.bias": "bias",
}
_ATTENTION = {
    "0.fn.fn.to_q.weight": "queries.weight",
    "0.fn.fn.to_kv.net.0.weight": "surroundings.weight",
    "0.fn.fn.to_kv.net.1.weight": "keys_values.weight",
    "0.fn.fn.to_out.weight": "out.weight",
    "0.fn.fn.to_out.bias": "out.bias",
    "1.fn.fn.0.weight": "widen.weight",
    "1.fn.fn.0.bias": "widen.bias",
    "1.fn.fn.2.weight": "narrow.weight",
    "1.fn.fn.2.bias": "narrow.bias",
}
_RGB = {"to_style.weight": "affine.weight", "to_style.bias": "affine.bias", "conv.weight": "weight"}


class LucidrainsOptions(BaseModel):
    """The options that matter, of those that the program keeps beside its networks."""

    model_config = ConfigDict(strict=True)

    image_size: int | None = None
    lr_mlp: float = Field(0.1, gt=0, le=100)


def claims(contents: Any) -> bool:
    """Whether contents are a checkpoint of this program, or the state dict alone."""
    return isinstance(contents, Mapping) and (KEY in contents or SIGN in contents)


def from_lucidrains(contents: Mapping[str, Any], path: Path) -> Converted:
    """The averaged generator of a file under our names; `contents` is what `torchfile.read` returned.

    Raises:
        ValueError: if a layer is unknown, or a tensor is missing, left over or of another shape.
    """
    contents = contents if KEY in contents else {KEY: contents}
    state = plain_tensors(contents[KEY], KEY, path.stat().st_size)
    state = {name: t.float() for name, t in state.items() if re.match(_OURS, name)}
    version = contents.get("version")
    version = printable(version, 40) if isinstance(version, str) else ""
    config = _config(state, version)
    rate = _rate(path, config)
    with torch.device("meta"):
        G = LucidrainsGenerator(config)
    if _BEGIN in state and state[_BEGIN].ndim == 4:  # a convolution of one pixel there, a fully connected layer here
        state[_BEGIN] = state[_BEGIN].flatten(1).t()
    own = renamed(state, {theirs: ours for ours, theirs in names(config)}, G, _their_shape)
    own |= {name: t * rate for name, t in own.items() if name.startswith("mapping.")}
    own["synthesis.noise"] = torch.rand(config.height, config.width, generator=torch.Generator().manual_seed(0))
    own["mapping.w_average"] = torch.zeros(config.w_dim)
    G.load_state_dict(own, assign=True)
    own["mapping.w_average"], origin = average_w(G.mapping, config.z_dim, config.mapping_layers * config.w_dim**2)
    source = {"format": "lucidrains .pt", "version": version, "w_average": origin, "lr_mlp": rate}
    metadata = {"generator": configs.to_dict(config), "source": source}
    return Converted("lucidrains", metadata, {f"G_ema.{name}": tensor for name, tensor in own.items()})


def names(config: LucidrainsConfig) -> Iterator[tuple[str, str]]:
    """Our name, and theirs, of every tensor of a generator."""
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            yield f"mapping.layers.{i}.{part}", f"SE.net.{2 * i}.{part}"
    if config.constant:
        yield "synthesis.const", "GE.initial_block"
    else:
        yield "synthesis.begin.weight", _BEGIN
    for part in ("weight", "bias"):
        yield f"synthesis.first.{part}", f"GE.initial_conv.{part}"
    for k in range(config.num_ws):
        ours, theirs = f"synthesis.blocks.{k}", f"GE.blocks.{k}"
        for i in range(2):
            yield from ((f"{ours}.conv{i}.{b}", f"{theirs}.{a.format(i + 1)}") for a, b in _LAYER.items())
        yield from ((f"{ours}.rgb.{b}", f"{theirs}.to_rgb.{a}") for a, b in _RGB.items())
    scaling = {"g": "gain"} if config.attention_form == "1.6" else {"norm.g": "gain", "norm.b": "bias"}
    for k in config.attention:
        ours, theirs = f"synthesis.attention.{k}", f"GE.attns.{k}"
        yield from ((f"{ours}.{b}", f"{theirs}.{a}") for a, b in _ATTENTION.items())
        for i in range(2):
            yield from ((f"{ours}.scaling{i}.{b}", f"{theirs}.{i}.fn.{a}") for a, b in scaling.items())


def _rate(path: Path, config: LucidrainsConfig) -> float:
    """The learning rate multiplier of the mapping network, from the options beside a network; no tensor shows it."""
    beside = path.with_name(OPTIONS)
    if not beside.is_file():
        return LucidrainsOptions().lr_mlp
    try:
        with beside.open("rb") as file:
            options = LucidrainsOptions.model_validate_json(file.read(LARGEST_OPTIONS))
    except ValidationError as error:
        raise ValueError(f"the {OPTIONS} beside it is damaged: {_REMEDY}") from error
    if options.image_size not in (None, config.height):
        raise ValueError(
            f"the {OPTIONS} beside it states {options.image_size} pixels, but its tensors make {config.height}: "
            f"{_REMEDY}"
        )
    return options.lr_mlp


def _their_shape(theirs: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor in their file, from its name there and the shape of ours."""
    if theirs == "GE.initial_block":
        return (1, *ours)
    if ".fn.g" in theirs or ".fn.norm." in theirs:
        return (1, *ours, 1, 1)
    return (*ours, 1) if re.search(r"to_noise\d\.weight$", theirs) else ours


def _config(state: Mapping[str, Tensor], version: str) -> LucidrainsConfig:
    """The sizes of a generator, by its tensors."""
    blocks = sum(1 for name in state if re.fullmatch(r"GE\.blocks\.\d+\.conv2\.weight", name))
    layers = sum(1 for name in state if re.fullmatch(r"SE\.net\.\d+\.weight", name))
    if blocks < 2 or not layers:
        raise ValueError(f"it has {blocks} blocks GE.blocks.… and {layers} layers SE.net.…")
    widths = [shape_of(state, f"GE.blocks.{k}.conv2.weight", 4)[0] for k in range(blocks)]
    sizes = {
        "doublings": blocks - 1,
        "channels": shape_of(state, "GE.blocks.0.to_rgb.conv.weight", 4)[0],
        "capacity": max(widths[-1] // 2, 1),
        "channel_max": max(widths),
        "mapping_layers": layers,
        "w_dim": shape_of(state, "SE.net.0.weight", 2)[0],
        "constant": _BEGIN not in state,
        "attention": sorted({int(m[1]) for name in state if (m := re.match(r"GE\.attns\.([0-9]{1,3})\.", name))}),
        "attention_form": _form(state, version),
    }
    return configs.from_dict(LucidrainsConfig, sizes)


def _form(state: Mapping[str, Tensor], version: str) -> Form:
    """The kind of attention. Versions 1.8.0 to 1.8.7 have another kind than later ones, under the same names."""
    if any(re.fullmatch(r"GE\.attns\.[0-9]+\.0\.fn\.g", name) for name in state):
        return "1.6"
    return "1.8" if re.fullmatch(r"1\.8\.[0-7]", version) else "1.8.8"
