"""Networks of the official TensorFlow implementations of StyleGAN2 and StyleGAN2-ADA.

Their layers compute what the PyTorch ones do, with other names and other orders of the same numbers: dense weights are
[in, out], convolutions [height, width, in, out]; an enlarging convolution is stored turned around; and the 1 of a
style's bias is added when it is used.
"""

import re
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.foreign.architecture import (
    Built,
    Settings,
    build_discriminator,
    build_generator,
    clamp_of,
    expect,
    group_of,
    settle,
)
from models.stylegan2.foreign.nvlabs import ARCHITECTURES
from models.stylegan2.foreign.options import check_option, is_same
from models.stylegan2.foreign.records import Array, TensorFlowNetwork
from system.text import shown
from torch_utils.torchpickles import Budget

_OLDEST = 4  # format of the first StyleGAN2
_DEEPEST = 4
_MOST_NETWORKS = 50  # that a network is made of; those of the official program are of three
_MOST_VARIABLES = 2000  # the largest official network has 160
_MOST_OPTIONS = 1000
_LONGEST_NAME = 200

_IGNORED = {  # options of what surrounds a network
    *("randomize_noise", "truncation_psi", "truncation_cutoff", "dlatent_avg_beta", "style_mixing_prob"),
    *("num_fp16_res", "conditioning", "fused_modconv", "mapping_layers", "mapping_fmaps", "dtype", "structure"),
}
_KNOWN = {
    "fmap_decay": 1,
    "fmap_min": 1,
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "nonlinearity": "lrelu",
    "normalize_latents": True,
    "use_noise": True,
    "mbstd_num_features": 1,
}
_SETTINGS = {"fmap_base", "fmap_max", "conv_clamp", "mbstd_group_size", "architecture", "resample_kernel"}
_SIZES = {"resolution", "num_channels", "label_size", "latent_size", "dlatent_size"}

_Change = Callable[[np.ndarray], np.ndarray]
_Rules = dict[str, tuple[str, _Change]]


def network(name: str, record: TensorFlowNetwork, budget: Budget) -> Built:
    """Our network for theirs.

    Args:
        name: G, D or G_ema.
        record: of the pickle, whose file is open.
        budget: bytes that the numbers may take.

    Raises:
        ValueError: for what is none, or computes something else.
    """
    state = record.state
    version = state.get("version")
    if type(version) is not int or version < _OLDEST:
        raise ValueError(
            f"its {name} is of version {shown(version)}, and those of StyleGAN2 begin with {_OLDEST}: "
            "networks of the first StyleGAN are not read"
        )
    kwargs = _dict(state.get("static_kwargs"), "static_kwargs")
    tensors = _tensors(_D if name == "D" else _G, _variables(record), budget)
    base, most = (kwargs.get(name) if type(kwargs.get(name)) is int else None for name in ("fmap_base", "fmap_max"))
    settings = Settings(
        clamp=clamp_of(kwargs.get("conv_clamp")),
        mbstd_group=group_of(kwargs.get("mbstd_group_size", 4)),
        channel_base=base and base * 2,
        channel_max=most,
    )
    built = (build_discriminator if name == "D" else build_generator)(tensors, settings)
    _check(name, kwargs, built)
    return built


def is_discriminator(record: TensorFlowNetwork) -> bool:
    """Whether it reads images."""
    variables = record.state.get("variables")
    items = variables[:_MOST_VARIABLES] if isinstance(variables, list) else []
    names = [item[0] for item in items if isinstance(item, tuple) and item]
    return any(isinstance(name, str) and "FromRGB" in name[:_LONGEST_NAME] for name in names)


def _check(name: str, kwargs: dict[Any, Any], built: Built) -> None:
    expect(name, kwargs, **_KNOWN, architecture=ARCHITECTURES[built.config.architecture])
    kernel = kwargs.get("resample_kernel")
    if kernel is not None and not is_same(kernel, [1, 3, 3, 1]):
        raise ValueError(f"its {name} has the resample_kernel {shown(kernel)}, and only [1, 3, 3, 1] is known here")
    config = built.config
    sizes = {"resolution": config.height, "num_channels": config.channels, "label_size": config.classes}
    if name != "D":
        sizes |= {"latent_size": config.z_dim, "dlatent_size": config.w_dim}
    settle(name, kwargs, **sizes)
    for option, value in kwargs.items():
        if option not in _IGNORED | _KNOWN.keys() | _SETTINGS | _SIZES:
            check_option(option, value, config)


def _variables(record: TensorFlowNetwork) -> Iterator[tuple[str, Array | float]]:
    """Variables of a network, and of those it is made of, by names with slashes."""
    waiting, count = [("", record, 0)], 0
    for visited in range(_MOST_NETWORKS + 1):
        if not waiting:
            return
        prefix, record, depth = waiting.pop()
        if depth > _DEEPEST or visited == _MOST_NETWORKS:
            raise ValueError("its networks contain one another more often or more deeply than those of any StyleGAN2")
        variables = record.state.get("variables")
        if not isinstance(variables, list):
            raise ValueError(f"it is damaged (its variables are {shown(variables)})")
        count += len(variables)
        if count > _MOST_VARIABLES:
            raise ValueError(f"its network has more than {_MOST_VARIABLES:,} variables, and no StyleGAN2 has as many")
        for item in variables:
            name, value = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
            if not isinstance(name, str) or not isinstance(value, Array | float):
                raise ValueError(f"it is damaged (its variable {shown(name)} is {shown(value)})")
            yield prefix + name, value
        for name, part in _dict(record.state.get("components"), "components").items():
            if not isinstance(part, TensorFlowNetwork):
                raise ValueError(f"it is damaged (its component {shown(name)} is {shown(part)})")
            waiting.append((f"{prefix}{name[:_LONGEST_NAME]}/", part, depth + 1))


def _tensors(rules: _Rules, variables: Iterator[tuple[str, Array | float]], budget: Budget) -> dict[str, Tensor]:
    """Variables as tensors of official PyTorch names."""
    tensors: dict[str, Tensor] = {}
    for name, value in variables:
        if re.search(r"(^|/)lod$", name[-_LONGEST_NAME:]):
            continue  # of progressive growing, which is over
        theirs, change = _place(rules, name)
        if theirs in tensors:
            raise ValueError(f"it is damaged (two of its variables are {theirs})")
        if theirs:
            tensors[theirs] = _tensor(name, value, change, budget)
    return _at_full_size(tensors)


def _tensor(name: str, value: Array | float, change: _Change, budget: Budget) -> Tensor:
    shape = value.shape if isinstance(value, Array) else ()
    budget.spend(4 * prod(shape))
    try:
        values = value.values if isinstance(value, Array) else np.array(value)
        return torch.from_numpy(np.array(change(values), np.float32, order="C"))
    except (ValueError, IndexError, TypeError) as error:
        reason = f"its {shown(name)} has the shape {shown(shape)}, which is none of such a variable"
        raise ValueError(reason) from error


def _at_full_size(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Layers of RGB of a network that has grown, which are numbered from the largest size, at that size.

    Such a network makes, or reads, the image at the largest size alone: it is of the architecture `orig`.
    """
    sizes = [int(found[1]) for name in tensors if (found := re.search(r"\bb(\d{1,5})\.conv", name))]
    return {name.replace(_LARGEST, str(max(sizes, default=4))): tensor for name, tensor in tensors.items()}


def _place(rules: _Rules, name: str) -> tuple[str, _Change]:
    """The official PyTorch name of a variable; "" of one that nothing depends on."""
    for pattern, (theirs, change) in rules.items() if len(name) <= _LONGEST_NAME else ():
        if found := re.fullmatch(pattern, name):
            if theirs == _NOISE:
                return _noise(int(found[1])), change
            return found.expand(theirs), change
    raise ValueError(f"its variable {shown(name)} has no place in StyleGAN2")


def _noise(number: int) -> str:
    """Whose noise this is: 0 of the 4x4 layer, then two for each size."""
    if number == 0:
        return "synthesis.b4.conv1.noise_const"
    return f"synthesis.b{8 << (number - 1) // 2}.conv{(number - 1) % 2}.noise_const"


def _dict(value: Any, what: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MOST_OPTIONS or not all(isinstance(name, str) for name in value):
        raise ValueError(f"it is damaged (its {what} is {shown(value)})")
    return value


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _dense(x: np.ndarray) -> np.ndarray:
    return x.transpose(1, 0)


def _convolution(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


def _turned(x: np.ndarray) -> np.ndarray:
    return _convolution(x)[:, :, ::-1, ::-1]


def _plus_one(x: np.ndarray) -> np.ndarray:
    return x + np.float32(1)


def _layer(theirs: str, ours: str, weight: _Change) -> _Rules:
    return {f"{theirs}/weight": (f"{ours}.weight", weight), f"{theirs}/bias": (f"{ours}.bias", _same)}


def _styled(theirs: str, ours: str, weight: _Change) -> _Rules:
    return _layer(theirs, ours, weight) | {
        f"{theirs}/mod_weight": (f"{ours}.affine.weight", _dense),
        f"{theirs}/mod_bias": (f"{ours}.affine.bias", _plus_one),
        f"{theirs}/noise_strength": (f"{ours}.noise_strength", _same),
    }


# Pattern of a variable's name -> name in the official PyTorch networks, and how the numbers change.
_SIZE = r"(\d+)x\1"
_NOISE = "noise"
_LARGEST = "<largest size>"
_MAPPING = _layer(r"mapping/Dense(\d+)", r"mapping.fc\1", _dense) | _layer(
    "mapping/LabelEmbed", "mapping.embed", _dense
)
_G = {
    **_MAPPING,
    "dlatent_avg": ("mapping.w_avg", _same),
    "synthesis/4x4/Const/const": ("synthesis.b4.const", lambda x: x[0]),
    r"synthesis/noise(\d{1,3})": (_NOISE, lambda x: x[0, 0]),
    **_styled("synthesis/4x4/Conv", "synthesis.b4.conv1", _convolution),
    **_styled(f"synthesis/{_SIZE}/Conv0_up", r"synthesis.b\1.conv0", _turned),
    **_styled(f"synthesis/{_SIZE}/Conv1", r"synthesis.b\1.conv1", _convolution),
    **_styled(f"synthesis/{_SIZE}/ToRGB", r"synthesis.b\1.torgb", _convolution),
    f"synthesis/{_SIZE}/Skip/weight": (r"synthesis.b\1.skip.weight", _turned),
    **_styled("synthesis/ToRGB_lod0", f"synthesis.b{_LARGEST}.torgb", _convolution),
    r"synthesis/ToRGB_lod[1-9]\d?/\w+": ("", _same),
}
_D = {
    **_MAPPING,
    **_layer(f"{_SIZE}/FromRGB", r"b\1.fromrgb", _convolution),
    **_layer(f"{_SIZE}/Conv0", r"b\1.conv0", _convolution),
    **_layer(f"{_SIZE}/Conv1_down", r"b\1.conv1", _convolution),
    f"{_SIZE}/Skip/weight": (r"b\1.skip.weight", _convolution),
    **_layer("FromRGB_lod0", f"b{_LARGEST}.fromrgb", _convolution),
    r"FromRGB_lod[1-9]\d?/\w+": ("", _same),
    **_layer("4x4/Conv", "b4.conv", _convolution),
    **_layer("4x4/Dense0", "b4.fc", _dense),
    **_layer("Output", "b4.out", _dense),
}
