"""Files of U-Nets of other programs: guided-diffusion's, read, and diffusers' folders, written.

guided-diffusion's `.pt` is a bare dict of a U-Net or a classifier, whose names are those of ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from models.adm import blocks
from models.adm import network as nets
from models.adm.config import ClassifierConfig, TrunkConfig, UNetConfig, published_classifier, published_unet
from models.diffusion.folders import check_kept, write_folder
from models.diffusion.process import Schedule
from models.foreign import Converted, Foreign, Job, Notes, Shapes, renamed, shape_of, shapes_of
from models.sampler import Options
from torch_utils import config as configs
from torch_utils import torchfile

SIGNS = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight")
DECODER = "output_blocks.0.0.in_layers.0.weight"  # which the classifier lacks
LABELS, POSITIONS = "label_emb.weight", "out.2.positional_embedding"
POOLS = {POSITIONS: "attention", "out.1.weight": "spatial_v2", "out.2.weight": "spatial", "out.3.weight": "adaptive"}
PUBLISHED = {  # those without classes are of 256 pixels, and of LSUN
    True: [published_unet(side) for side in (64, 128, 256, 512)] + [published_unet(256, 0)],
    False: [published_classifier(side) for side in (64, 128, 256, 512)],
}
UPSAMPLER = 6  # channels: the noisy picture, and the small one
GROUPS = 32  # of every norm in their program


class GuidedOptions(Options):
    """What the tensors of a file do not say. None: as in the published file of this size, if it is one."""

    height: int | None = Field(None, ge=1, le=2**16, description="picture height")
    width: int | None = Field(None, ge=1, le=2**16, description="picture width; None: as the height")
    res_blocks: int | None = Field(None, ge=1, le=64, description="residual blocks at each size")
    heads: int | None = Field(None, ge=1, le=1024, description="attention heads")
    head_channels: int | None = Field(None, ge=1, le=2**14, description="channels of an attention head")
    heads_upsample: int | None = Field(None, ge=1, le=1024, description="heads of the enlarging half")
    new_attention_order: bool | None = Field(None, description="order of q, k, v: (qkv, head), or (head, qkv)")
    schedule: Schedule | None = Field(None, description="variances of the steps; None: linear if none is published")


def from_guided(contents: Mapping[str, Any], path: Path, options: GuidedOptions) -> Converted:
    """The network of a file; `contents` is what `torchfile.read` returned.

    Raises ValueError if a setting is missing, or a tensor is missing, left over or of another shape.
    """
    plain = torchfile.plain_tensors(contents, "contents", path.stat().st_size)
    shapes = shapes_of(plain)
    is_unet = DECODER in shapes
    config = config_of(shapes, options)
    own = renamed(plain, {name: name for name in shapes_of(_built(config).state_dict())}, _built(config))
    family, name, part = ("adm", "denoiser", "ema") if is_unet else ("noise-classifier", "classifier", "net")
    source = {"format": f"guided-diffusion .pt ({'U-Net' if is_unet else 'classifier'})"}
    tensors = {f"{part}.{key}": tensor for key, tensor in own.items()}
    return Converted(family, {name: configs.to_dict(config), "source": source}, tensors)


def config_of(shapes: Shapes, options: GuidedOptions) -> TrunkConfig:
    """The settings that the tensors show, then those of the published file of this size, then the options."""
    found = _fitting(shapes, options)
    same: dict[str, Any] = {}
    for published in PUBLISHED[DECODER in shapes]:
        known = configs.flatten(configs.from_dict(_kind(shapes), published))
        if all(known[key] == value for key, value in found.items()):
            same = known
    told = {key: value for key, value in options.model_dump().items() if value is not None}
    if options.height and found.get("pool") != "attention":
        told.setdefault("width", options.height)
    if "schedule" in told:
        told["noise.schedule"] = told.pop("schedule")
    sized = same or "height" in told or found.get("pool") == "attention"
    headed = same or "heads" in told or "head_channels" in told
    if missing := [*([] if sized else ["height=PIXELS"]), *([] if headed else ["head_channels=NUMBER"])]:
        sets = " ".join(f"--set {each}" for each in missing)
        either = "" if headed else ", or --set heads=NUMBER in its place"
        raise ValueError(f"it has no published size, and its tensors do not say everything: give {sets}{either}")
    if "heads" in told:
        told.setdefault("head_channels", 0)
    try:
        config = _config(shapes, {**same, **found, **told})
    except ValueError as error:
        raise ValueError(f"its network cannot be built here: {error}") from error
    attention = [module for module in _built(config).modules() if isinstance(module, blocks.AttentionBlock)]
    if not same and "new_attention_order" not in told and any(block.heads > 1 for block in attention):
        raise ValueError(
            "it has no published size, and its tensors do not say the order of its attention's channels: give --set "
            "new_attention_order=false, or true if it was trained with --use_new_attention_order True"
        )
    return config


RELEASED = Foreign(
    "guided-diffusion",
    torchfile.begins_so,
    torchfile.read,
    lambda contents: isinstance(contents, Mapping) and all(name in contents for name in SIGNS),
    from_guided,
    GuidedOptions,
)


def _built(config: TrunkConfig) -> nets.UNet | nets.NoisyClassifier:
    with torch.device("meta"):
        return nets.UNet(config) if isinstance(config, UNetConfig) else nets.NoisyClassifier(config)  # type: ignore[arg-type]


def _fitting(shapes: Shapes, options: GuidedOptions) -> dict[str, Any]:
    """The settings that give exactly these tensors; those that tensors do not show are made up.

    Residual blocks at each size are tried, because a block that halves has the names of one that does not.
    """
    last = max(int(m[1]) for name in shapes if (m := re.match(r"input_blocks\.(\d{1,4})\.", name)))
    counts = [options.res_blocks] if options.res_blocks else range(1, last + 1)
    found, errors = [], []
    for count in counts:
        if (last + 1) % (count + 1):
            continue
        try:
            settings = _settings(shapes, count, (last + 1) // (count + 1), options)
            side = 2 ** (len(settings["mult"]) - 1)  # any size: only positions depend on it
            network = _built(_config(shapes, {"height": side, "width": side, **settings}))
        except ValueError as error:
            errors.append((math.inf, str(error)))
            continue
        own = shapes_of(network.state_dict())
        if different := [name for name in {**own, **shapes} if own.get(name) != shapes.get(name)]:
            errors.append((len(different), f"{len(different)} tensors do not fit, the first is {min(different)[:80]}"))
        else:
            found.append(settings)
    if len(found) > 1:
        either = " or ".join(str(settings["res_blocks"]) for settings in found)
        raise ValueError(f"its tensors fit several networks: give --set res_blocks={either}")
    if not found:
        raise ValueError(f"its network cannot be built here: {min(errors)[1] if errors else 'its blocks are too few'}")
    return found[0]


def _settings(shapes: Shapes, res_blocks: int, levels: int, options: GuidedOptions) -> dict[str, Any]:
    _, channels, *_ = shape_of(shapes, "input_blocks.0.0.weight", 4)
    if channels == UPSAMPLER:
        raise ValueError("it is an upsampler, which also takes a small picture: take a network of noisy pictures alone")
    _, model_channels = shape_of(shapes, "time_embed.0.weight", 2)
    firsts = [1 + level * (res_blocks + 1) for level in range(levels)]
    widths = [shape_of(shapes, f"input_blocks.{i}.0.out_layers.3.weight", 4)[0] for i in firsts]
    half = f"input_blocks.{1 + res_blocks}.0"
    steering, _ = shape_of(shapes, "middle_block.0.emb_layers.1.weight", 2)
    skips = [shape for name, shape in shapes.items() if name.endswith("skip_connection.weight")]
    settings: dict[str, Any] = {
        "channels": channels,
        "model_channels": model_channels,
        "mult": tuple(_factor(width, model_channels) for width in widths),
        "res_blocks": res_blocks,
        "attention": tuple(2**k for k, i in enumerate(firsts) if f"input_blocks.{i}.1.qkv.weight" in shapes),
        "resblock_updown": f"{half}.in_layers.2.weight" in shapes or levels == 1,
        "conv_resample": f"{half}.op.weight" in shapes or f"{half}.in_layers.2.weight" in shapes or levels == 1,
        "conditioning": "adagn" if steering == 2 * widths[-1] else "add",
        "conv_skip": any(shape[2:] == (3, 3) for shape in skips),
        "groups": GROUPS,
    }
    if DECODER in shapes:
        return settings | {
            "classes": shape_of(shapes, LABELS, 2)[0] if LABELS in shapes else 0,
            "null_class": False,
            "noise.learned_variance": shape_of(shapes, "out.2.weight", 4)[0] == 2 * channels,
        }
    pool = next((pool for name, pool in POOLS.items() if name in shapes), "attention")
    last = {"attention": "out.2.c_proj.bias", "spatial": "out.2.bias"}.get(pool, "out.3.bias")
    settings |= {"pool": pool, "classes": shape_of(shapes, last, 1)[0]}
    if pool == "attention":  # its positions tell the size of the smallest feature maps
        places, factor = shape_of(shapes, POSITIONS, 2)[1] - 1, 2 ** (levels - 1)
        rows = max(options.height // factor if options.height else math.isqrt(places), 1)
        settings |= {"height": rows * factor, "width": places // rows * factor}
    return settings


def _factor(width: int, model_channels: int) -> float:
    """The factor whose product, rounded down, is the width."""
    factor = width / model_channels
    return factor if int(factor * model_channels) == width else (width + 0.5) / model_channels


def _kind(shapes: Shapes) -> type[TrunkConfig]:
    return UNetConfig if DECODER in shapes else ClassifierConfig


def _config(shapes: Shapes, settings: Mapping[str, Any]) -> TrunkConfig:
    return configs.build(_kind(shapes), {"noise.objective": "eps", **settings})


_BLOCK = {  # ours -> names of diffusers, within a block
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
    "norm": "group_norm",
    "proj_out": "to_out.0",
    "op": "conv",
}
_OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
}


def write_diffusers(job: Job) -> Notes:
    """Write a folder that `diffusers.UNet2DModel.from_pretrained` opens."""
    (network,) = job.networks.values()
    assert isinstance(network, nets.UNet)
    return {write_folder(job.dest, *to_diffusers(network)): "UNet2DModel"}


def to_diffusers(network: nets.UNet) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and the tensors of a network in diffusers. Raises ValueError if its graph is another."""
    c, model = network.config, "UNet2DModel"
    check_kept(model, c, {"conv_skip": False, "mult": (1, *c.mult[1:])})
    if c.conditioning == "cross-attention" or not (c.resblock_updown or c.conv_resample):
        raise ValueError(f"{model} of diffusers has no cross-attention, and convolutions where sizes change")
    attended = {c.channels_at(level) for level in range(len(c.mult)) if 2**level in c.attention} | {network.channels}
    widths = {width // c.heads_for(width, heads) for width in attended for heads in (0, c.heads_upsample)}
    if len(widths) > 1:
        raise ValueError(f"{model} of diffusers has heads of one width, but this network has {sorted(widths)} channels")
    places, tensors = _places(network), dict[str, torch.Tensor]()
    for name, tensor in network.state_dict().items():
        place = next(place for place in places if name.startswith(f"{place}."))
        inner, _, leaf = name.removeprefix(f"{place}.").rpartition(".")
        tensor = tensor.flatten(1) if tensor.ndim == 3 else tensor  # a convolution in attention
        if inner == "qkv":
            order, axis = ((3, -1, *widths), 0) if c.new_attention_order else ((-1, 3, *widths), 1)
            for letter, part in zip("qkv", tensor.unflatten(0, order).unbind(axis), strict=True):
                tensors[f"{places[place]}.to_{letter}.{leaf}"] = part.flatten(0, 1)
        else:
            tensors[".".join([places[place], *([_BLOCK.get(inner, inner)] if inner else []), leaf])] = tensor
    resample = "resnet" if c.resblock_updown else "conv"
    down, up = (
        ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if c.resblock_updown else ("DownBlock2D", "UpBlock2D")
    )
    levels = [2**level in c.attention for level in range(len(c.mult))]
    config = {
        "_class_name": model,
        "sample_size": [c.height, c.width],
        "in_channels": c.channels,
        "out_channels": c.outputs,
        "block_out_channels": [c.channels_at(level) for level in range(len(c.mult))],
        "layers_per_block": c.res_blocks,
        "down_block_types": ["AttnDownBlock2D" if attends else down for attends in levels],
        "up_block_types": ["AttnUpBlock2D" if attends else up for attends in reversed(levels)],
        "downsample_type": resample,
        "upsample_type": resample,
        "attention_head_dim": widths.pop(),
        "norm_num_groups": c.groups,
        "attn_norm_num_groups": c.groups,
        "resnet_time_scale_shift": "scale_shift" if c.conditioning == "adagn" else "default",
        "num_class_embeds": c.classes + c.null_class if c.classes else None,
        "dropout": c.dropout,
    }
    return config, tensors


def _places(network: nets.UNet) -> dict[str, str]:
    """The layers of a network, and where diffusers has them."""
    found, at_each = dict(_OUTSIDE), network.config.res_blocks + 1
    halves = {"input_blocks": ("down_blocks", "downsamplers"), "output_blocks": ("up_blocks", "upsamplers")}
    for ours, (theirs, resamplers) in halves.items():
        first = 1 if ours == "input_blocks" else 0
        for i, stage in enumerate(list(network.get_submodule(ours).children())[first:]):
            level, j = divmod(i, at_each)
            for k, layer in enumerate(stage.children()):
                resamples = j == at_each - 1 if first else k and not isinstance(layer, blocks.AttentionBlock)
                kind = "attentions" if isinstance(layer, blocks.AttentionBlock) else "resnets"
                place = f"{resamplers}.0" if resamples else f"{kind}.{j}"
                found[f"{ours}.{i + first}.{k}"] = f"{theirs}.{level}.{place}"
    return found
