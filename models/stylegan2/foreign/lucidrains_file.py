"""Files of lucidrains/stylegan2-pytorch: `model_N.pt`, and `.config.json` in the same folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.foreign import Converted, Foreign, Shapes, renamed, shape_of, shapes_of
from models.stylegan2.foreign import architecture, lucidrains
from models.stylegan2.foreign.lucidrainsconfig import Form, LucidrainsConfig
from system.text import printable
from torch_utils import config as configs
from torch_utils import torchfile

KEY = "GAN"  # of the state dict in a checkpoint
SIGN = "SE.net.0.weight"  # a tensor of every state dict
OPTIONS = ".config.json"
LARGEST_OPTIONS = 2**20  # bytes
_REMEDY = "replace it by the one of this network, or remove it"

_BEGIN = "GE.to_initial_block.weight"
_OURS = r"SE\.|GE\.(?!blocks\.\d+\.to_rgb\.upsample\.1\.f$)"  # the averaged networks, without the filter of images
_RULES: architecture.Rules = (
    (r"mapping\.layers\.(\d+)", lambda i: f"SE.net.{2 * i}"),
    (r"synthesis\.const", "GE.initial_block"),
    (r"synthesis\.begin", "GE.to_initial_block"),
    (r"synthesis\.first", "GE.initial_conv"),
    (r"synthesis\.blocks", "GE.blocks"),
    (r"\.conv0", ".layer1"),
    (r"\.conv1", ".layer2"),
    (r"layer(\d)\.conv\.affine", r"to_style\1"),
    (r"layer(\d)\.conv", r"conv\1"),
    (r"layer(\d)\.noise_gain", r"to_noise\1.weight"),
    (r"layer(\d)\.bias", r"to_noise\1.bias"),
    (r"rgb\.affine", "to_rgb.to_style"),
    (r"\.rgb\.weight", ".to_rgb.conv.weight"),
    (r"synthesis\.attention", "GE.attns"),
    (r"queries", "0.fn.fn.to_q"),
    (r"surroundings", "0.fn.fn.to_kv.net.0"),
    (r"keys_values", "0.fn.fn.to_kv.net.1"),
    (r"\.out\.", ".0.fn.fn.to_out."),
    (r"widen", "1.fn.fn.0"),
    (r"narrow", "1.fn.fn.2"),
    (r"scaling(\d)\.gain", r"\1.fn.norm.g"),
    (r"scaling(\d)\.bias", r"\1.fn.norm.b"),
)


class LucidrainsOptions(BaseModel):
    """The options that matter, of those that the program keeps beside its networks."""

    model_config = ConfigDict(strict=True)

    image_size: int | None = None
    lr_mlp: float = Field(0.1, gt=0, le=100)


def from_lucidrains(contents: Mapping[str, Any], path: Path) -> Converted:
    """The averaged generator of a file under our names; `contents` is what `torchfile.read` returned.

    Raises ValueError if a layer is unknown, or a tensor is missing, left over or of another shape.
    """
    contents = contents if KEY in contents else {KEY: contents}
    state = torchfile.plain_tensors(contents[KEY], KEY, path.stat().st_size)
    state = {name: t.float() for name, t in state.items() if re.match(_OURS, name)}
    version = contents.get("version")
    version = printable(version, 40) if isinstance(version, str) else ""
    config = _config(shapes_of(state), version)
    rate = _rate(path, config)
    with torch.device("meta"):
        G = lucidrains.LucidrainsGenerator(config)
    if _BEGIN in state and state[_BEGIN].ndim == 4:  # a convolution of one pixel there, a fully connected layer here
        state[_BEGIN] = state[_BEGIN].flatten(1).t()
    buffers = dict(G.named_buffers())  # which their files lack
    rules = [*_RULES, *([(r"\.norm\.g", ".g")] if config.attention_form == "1.6" else [])]
    own = renamed(state, architecture.translated((name for name in G.state_dict() if name not in buffers), rules), G)
    own |= {name: t * rate for name, t in own.items() if name.startswith("mapping.")}
    own["synthesis.noise"] = torch.rand(config.height, config.width, generator=torch.Generator().manual_seed(0))
    G.load_state_dict(own, strict=False, assign=True)  # the average is missing yet
    own["mapping.w_average"], origin = architecture.average_w(
        G.mapping, config.z_dim, config.mapping_layers * config.w_dim**2
    )
    source = {"format": "lucidrains .pt", "version": version, "w_average": origin, "lr_mlp": rate}
    metadata = {"generator": configs.to_dict(config), "source": source}
    return Converted("lucidrains", metadata, {f"G_ema.{name}": tensor for name, tensor in own.items()})


LUCIDRAINS = Foreign(
    "lucidrains' stylegan2-pytorch",
    torchfile.begins_so,
    torchfile.read,
    lambda contents: isinstance(contents, Mapping) and (KEY in contents or SIGN in contents),
    from_lucidrains,
)


def _rate(path: Path, config: LucidrainsConfig) -> float:
    """The learning rate multiplier of the mapping network, from the options beside a network; no tensor shows it."""
    options, beside = LucidrainsOptions(), path.with_name(OPTIONS)
    try:
        if beside.is_file():
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


def _config(shapes: Shapes, version: str) -> LucidrainsConfig:
    """The sizes of a generator. Attention of versions 1.8.0 to 1.8.7 differs from later ones, but its names do not."""
    blocks = sum(1 for name in shapes if re.fullmatch(r"GE\.blocks\.\d+\.conv2\.weight", name))
    layers = sum(1 for name in shapes if re.fullmatch(r"SE\.net\.\d+\.weight", name))
    if blocks < 2 or not layers:
        raise ValueError(f"it has {blocks} blocks GE.blocks.… and {layers} layers SE.net.…")
    widths = [shape_of(shapes, f"GE.blocks.{k}.conv2.weight", 4)[0] for k in range(blocks)]
    form: Form = "1.8" if re.fullmatch(r"1\.8\.[0-7]", version) else "1.8.8"
    if any(re.fullmatch(r"GE\.attns\.[0-9]+\.0\.fn\.g", name) for name in shapes):
        form = "1.6"
    sizes = {
        "doublings": blocks - 1,
        "channels": shape_of(shapes, "GE.blocks.0.to_rgb.conv.weight", 4)[0],
        "capacity": max(widths[-1] // 2, 1),
        "channel_max": max(widths),
        "mapping_layers": layers,
        "w_dim": shape_of(shapes, "SE.net.0.weight", 2)[0],
        "constant": _BEGIN not in shapes,
        "attention": sorted({int(m[1]) for name in shapes if (m := re.match(r"GE\.attns\.([0-9]{1,3})\.", name))}),
        "attention_form": form,
    }
    return configs.from_dict(LucidrainsConfig, sizes)
