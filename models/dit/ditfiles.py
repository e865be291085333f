"""Files of diffusion transformers of other programs: DiT's `.pt`, read, and diffusers' folders, written.

DiT publishes bare dicts of averaged weights; its training writes `model`, `ema`, `opt` and `args`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from models.diffusion import layers
from models.diffusion.folders import check_kept, write_folder
from models.dit import network as nets
from models.dit.config import SIZES, DiTConfig
from models.foreign import Converted, Foreign, Job, Notes, Shapes, renamed, shape_of, shapes_of
from models.sampler import Options
from torch_utils import config as configs
from torch_utils import torchfile

SIGNS = ("pos_embed", "x_embedder.proj.weight", "t_embedder.mlp.0.weight")
STATES = {"ema": "ema", "model": "net"}  # of a training file, with our names
LEARNED = 2  # channels of the prediction, for each of the picture, with learned variances
# The published networks make latents of Stable Diffusion's autoencoder (Rombach et al. 2022): their channels, the
# factor between the sides of pictures and latents, and the scale.
CHANNELS, FACTOR, SCALE = 4, 8, 0.18215

# diffusers divides the exponents of the waves by 127, the published program by 128.
_WAVES = "set time_proj.downscale_freq_shift = 0 in the norm1.emb of its blocks for the same output (docs/networks.md)"


class DiTOptions(Options):
    """What the tensors of a file do not say."""

    heads: int | None = Field(None, ge=1, le=1024, description="attention heads; None: of the published sizes")
    height: int | None = Field(None, ge=1, le=2**16, description="picture height; None: pictures are square")
    null_class: bool = Field(True, description="the last row of labels is no class; false: labels were never dropped")


def from_dit(contents: Mapping[str, Any], path: Path, options: DiTOptions) -> Converted:
    """The networks of a file; `contents` is what `torchfile.read` returned.

    Raises ValueError if a setting is missing, or a tensor is missing, left over or of another shape.
    """
    training = not _is_state(contents)
    states = {ours: contents[key] for key, ours in STATES.items() if key in contents} if training else {"ema": contents}
    tensors: dict[str, torch.Tensor] = {}
    for name, state in states.items():
        plain = torchfile.plain_tensors(state, name, path.stat().st_size)
        config = config_of(shapes_of(plain), options)
        with torch.device("meta"):
            network = nets.DiT(config)
        own = renamed(plain, {key: key for key in network.state_dict()}, network)
        tensors |= {f"{name}.{key}": tensor for key, tensor in own.items()}
    source = {"format": f"DiT .pt ({'training' if training else 'averaged weights'})"}
    return Converted("dit", {"denoiser": configs.to_dict(config), "source": source}, tensors)


def config_of(shapes: Shapes, options: DiTOptions) -> DiTConfig:
    """The settings of a network, from the shapes of its tensors, the published sizes and the options."""
    hidden, channels, patch, _ = shape_of(shapes, "x_embedder.proj.weight", 4)
    blocks = {name.split(".")[1] for name in shapes if re.match(r"blocks\.\d+\.", name)}
    heads = options.heads or next(
        (size["heads"] for size in SIZES.values() if (size["hidden"], size["depth"]) == (hidden, len(blocks))), None
    )
    if heads is None:
        raise ValueError(
            f"its {len(blocks)} blocks of width {hidden} are no published size, so its attention heads are unknown: "
            f"give --set heads=NUMBER"
        )
    _, tokens, _ = shape_of(shapes, "pos_embed", 3)
    rows = options.height // patch if options.height else math.isqrt(tokens)
    if options.height and (options.height % patch or not rows or tokens % rows):
        raise ValueError(f"its {tokens} patches of {patch} pixels make no pictures of --set height={options.height}")
    if not options.height and rows**2 != tokens:
        raise ValueError(f"its {tokens} patches of {patch} pixels make no square: give --set height=PIXELS")
    labels, _ = shape_of(shapes, "y_embedder.embedding_table.weight", 2)
    outputs, _ = shape_of(shapes, "final_layer.linear.weight", 2)
    inner, _ = shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)
    found: dict[str, Any] = {
        "height": rows * patch,
        "width": tokens // rows * patch,
        "channels": channels,
        "classes": labels - options.null_class,
        "null_class": options.null_class,
        "patch": patch,
        "hidden": hidden,
        "depth": len(blocks),
        "heads": heads,
        "mlp_ratio": inner / hidden,
        "noise": {"objective": "eps", "learned_variance": outputs == LEARNED * channels * patch**2},
    }
    if channels == CHANNELS:
        sides = {"height": FACTOR * found["height"], "width": FACTOR * found["width"]}
        found["latent"] = {**sides, "channels": 3, "scale": SCALE}
    try:
        return configs.from_dict(DiTConfig, found)
    except ValueError as error:
        raise ValueError(f"its network cannot be built here: {error}") from error


def _is_state(contents: Any) -> bool:
    return isinstance(contents, Mapping) and all(name in contents for name in SIGNS)


def _claims(contents: Any) -> bool:
    return _is_state(contents) or (isinstance(contents, Mapping) and any(_is_state(contents.get(k)) for k in STATES))


RELEASED = Foreign("DiT", torchfile.begins_so, torchfile.read, _claims, from_dit, DiTOptions)

_THEIRS = (  # ours -> names of diffusers
    (r"^x_embedder", "pos_embed"),
    (r"^final_layer\.adaLN_modulation\.1", "proj_out_1"),
    (r"^final_layer\.linear", "proj_out_2"),
    (r"^blocks", "transformer_blocks"),
    (r"attn\.proj", "attn1.to_out.0"),
    (r"mlp\.fc1", "ff.net.0.proj"),
    (r"mlp\.fc2", "ff.net.2"),
    (r"adaLN_modulation\.1", "norm1.linear"),
    (r"^t_embedder\.mlp\.0", "timestep_embedder.linear_1"),
    (r"^t_embedder\.mlp\.2", "timestep_embedder.linear_2"),
    (r"^y_embedder", "class_embedder"),
)
_SHARED = ("timestep_embedder", "class_embedder")  # which diffusers repeats in every block


def write_diffusers(job: Job) -> Notes:
    """Write a folder that `diffusers.DiTTransformer2DModel.from_pretrained` opens."""
    (network,) = job.networks.values()
    assert isinstance(network, nets.DiT)
    config, tensors = to_diffusers(network)
    return {write_folder(job.dest, config, tensors): f"DiTTransformer2DModel; {_WAVES}"}


def to_diffusers(network: nets.DiT) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and the tensors of a network in diffusers. Raises ValueError if its graph is another."""
    c = network.config
    check_kept(
        "DiTTransformer2DModel", c, {"block": "adaln-zero", "mlp_ratio": 4.0, "qk_norm": False, "width": c.height}
    )
    table = network.get_buffer("pos_embed")
    if not torch.allclose(table[0], layers.positions(*c.grid, c.hidden).to(table), atol=1e-5):
        raise ValueError("DiTTransformer2DModel has fixed positions, but those of this network were trained")
    tensors: dict[str, torch.Tensor] = {}
    state = {name: tensor for name, tensor in network.state_dict().items() if name != "pos_embed"}
    if not c.classes:  # diffusers always has labels; this one adds nothing
        state["y_embedder.embedding_table.weight"] = torch.zeros(1, c.hidden)
    for name, tensor in state.items():
        theirs = name
        for pattern, new in _THEIRS:
            theirs = re.sub(pattern, new, theirs)
        if theirs.startswith(_SHARED):
            tensors |= {f"transformer_blocks.{i}.norm1.emb.{theirs}": tensor.clone() for i in range(c.depth)}
        elif "attn.qkv" in theirs:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            tensors |= {theirs.replace("attn.qkv", f"attn1.to_{letter}"): part.clone() for letter, part in parts}
        else:
            tensors[theirs] = tensor
    config = {
        "_class_name": "DiTTransformer2DModel",
        "num_attention_heads": c.heads,
        "attention_head_dim": c.hidden // c.heads,
        "in_channels": c.channels,
        "out_channels": c.outputs,
        "num_layers": c.depth,
        "sample_size": c.height,
        "patch_size": c.patch,
        "num_embeds_ada_norm": len(state["y_embedder.embedding_table.weight"]) - 1,
        "norm_eps": 1e-6,
    }
    return config, tensors
