"""Networks of the official TensorFlow implementations of StyleGAN2 and StyleGAN2-ADA.

Their layers compute what the PyTorch ones compute, with other names and another order of the same numbers: dense
weights are [in, out], convolutions [height, width, in, out]; an upsampling convolution is stored turned around; and the
1 of a style's bias is added when it is used.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.foreign.architecture import (
    BuiltNetwork,
    NetworkSettings,
    build,
    check_option,
    clamp_of,
    expect,
    group_of,
)
from models.stylegan2.foreign.nvlabs import ARCHITECTURES
from models.stylegan2.foreign.records import Array, TensorFlowNetwork, demand
from system.text import shown
from torch_utils.torchpickles import Budget

_OLDEST = 4  # version of the first StyleGAN2
_MOST_VARIABLES = 2000  # the largest official network has 160
_LONGEST_NAME = 200  # of a network within networks, which limits the depth

_IGNORED = {  # options that do not concern the function of a network
    *("randomize_noise", "truncation_psi", "truncation_cutoff", "dlatent_avg_beta", "style_mixing_prob"),
    *("num_fp16_res", "conditioning", "fused_modconv", "mapping_layers", "mapping_fmaps", "dtype", "structure"),
    *("fmap_base", "fmap_max", "conv_clamp", "mbstd_group_size"),  # read elsewhere
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
    "resample_kernel": [1, 3, 3, 1],
}

_Change = Callable[[np.ndarray], np.ndarray]
_Rules = dict[str, tuple[str, _Change]]


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _dense(x: np.ndarray) -> np.ndarray:
    return x.transpose(1, 0)


def _convolution(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


def network(name: str, record: TensorFlowNetwork, budget: Budget) -> BuiltNetwork:
    """Our network for theirs.

    Args:
        name: G, D or G_ema.
        record: from the pickle.
        budget: bytes that the numbers may take.

    Raises:
        ValueError: if no StyleGAN2 has these variables, or theirs computes something else.
    """
    version = record.state.get("version")
    if type(version) is not int or version < _OLDEST:
        raise ValueError(
            f"its {name} is of version {shown(version)}, and those of StyleGAN2 begin with {_OLDEST}: "
            "networks of the first StyleGAN are not read"
        )
    kwargs = _table(record, "static_kwargs")
    tensors = _tensors(_D if name == "D" else _G, _variables(record), budget)
    base, most = kwargs.get("fmap_base"), kwargs.get("fmap_max")
    base = base * 2 if type(base) is int else None
    settings = NetworkSettings(
        clamp_of(kwargs.get("conv_clamp")), group_of(kwargs.get("mbstd_group_size", 4)), base, most
    )
    built = build(name, tensors, settings)
    config = built.config
    known = _KNOWN | {
        "architecture": ARCHITECTURES[config.architecture],
        "resolution": config.height,
        "num_channels": config.channels,
        "label_size": config.classes,
    }
    if name != "D":
        known |= {"latent_size": config.z_dim, "dlatent_size": config.w_dim}
    expect(name, kwargs, **known)
    for option, value in kwargs.items():
        if option not in known.keys() | _IGNORED:
            check_option(option, value, config)
    return built


def is_discriminator(record: TensorFlowNetwork) -> bool:
    """Whether the network reads images."""
    variables = record.state.get("variables")
    items = variables[:_MOST_VARIABLES] if isinstance(variables, list) else []
    names = [item[0] for item in items if isinstance(item, tuple) and item]
    return any(isinstance(name, str) and "FromRGB" in name[:_LONGEST_NAME] for name in names)


def _variables(record: TensorFlowNetwork) -> Iterator[tuple[str, np.ndarray]]:
    """Variables of a network and of the networks inside it, by names with slashes."""
    waiting, count = [("", record)], 0
    while waiting:
        prefix, record = waiting.pop()
        variables, components = record.state.get("variables"), _table(record, "components")
        demand(isinstance(variables, list), "variables", variables)
        count += 1 + len(variables or []) + len(components)
        if count > _MOST_VARIABLES:
            raise ValueError("it has more variables, or more networks in networks, than any StyleGAN2")
        for item in variables or []:
            name, value = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
            fits = isinstance(name, str) and len(name) <= _LONGEST_NAME and isinstance(value, Array | float)
            demand(fits, "a variable", name)
            yield f"{prefix}{name}", value.values if isinstance(value, Array) else np.array(value)
        for name, part in components.items():
            demand(isinstance(part, TensorFlowNetwork) and len(prefix + name) <= _LONGEST_NAME, "a component", name)
            waiting.append((f"{prefix}{name}/", part))


def _tensors(rules: _Rules, variables: Iterator[tuple[str, np.ndarray]], budget: Budget) -> dict[str, Tensor]:
    """Variables as tensors under official PyTorch names."""
    tensors: dict[str, Tensor] = {}
    for name, values in variables:
        theirs, change = _place(rules, name)
        demand(theirs not in tensors, "a variable has two values", theirs)
        if not theirs:
            continue
        budget.spend(4 * values.size)
        try:
            tensors[theirs] = torch.from_numpy(np.array(change(values), np.float32, order="C"))
        except (ValueError, IndexError) as error:
            raise ValueError(f"its {name} has shape {shown(values.shape)}, which no such variable has") from error
    # A network that has grown numbers its RGB layers from the largest size, and uses only the first.
    sizes = [int(found[1]) for name in tensors if (found := re.search(r"\bb(\d{1,5})\.conv", name))]
    return {name.replace(_LARGEST, str(max(sizes, default=4))): tensor for name, tensor in tensors.items()}


def _place(rules: _Rules, name: str) -> tuple[str, _Change]:
    """The official PyTorch name of a variable; "" if nothing depends on the variable."""
    for pattern, (theirs, change) in rules.items():
        if found := re.fullmatch(pattern, name):
            return _noise(int(found[1])) if theirs == _NOISE else found.expand(theirs), change
    raise ValueError(f"its variable {shown(name)} has no place in StyleGAN2")


def _noise(number: int) -> str:
    """The name of noise 0, of the 4x4 layer, 1, ...; every further size has two."""
    if number == 0:
        return "synthesis.b4.conv1.noise_const"
    return f"synthesis.b{8 << (number - 1) // 2}.conv{(number - 1) % 2}.noise_const"


def _table(record: TensorFlowNetwork, what: str) -> dict[str, Any]:
    value = record.state.get(what)
    fits = isinstance(value, dict) and len(value) <= _MOST_VARIABLES and all(isinstance(name, str) for name in value)
    demand(value is None or fits, what, value)
    return value or {}


def _turned(x: np.ndarray) -> np.ndarray:
    return _convolution(x)[:, :, ::-1, ::-1]


def _layer(theirs: str, ours: str, weight: _Change) -> _Rules:
    return {f"{theirs}/weight": (f"{ours}.weight", weight), f"{theirs}/bias": (f"{ours}.bias", _same)}


def _styled(theirs: str, ours: str, weight: _Change) -> _Rules:
    return _layer(theirs, ours, weight) | {
        f"{theirs}/mod_weight": (f"{ours}.affine.weight", _dense),
        f"{theirs}/mod_bias": (f"{ours}.affine.bias", lambda x: x + np.float32(1)),
        f"{theirs}/noise_strength": (f"{ours}.noise_strength", _same),
    }


# Pattern of a variable's name -> name in the official PyTorch networks, and how the numbers change.
_SIZE = r"(\d+)x\1"
_NOISE = "noise"
_LARGEST = "<largest size>"
_MAPPING = {
    **_layer(r"mapping/Dense(\d+)", r"mapping.fc\1", _dense),
    **_layer("mapping/LabelEmbed", "mapping.embed", _dense),
}
_G = {
    **_MAPPING,
    r"(.*/)?lod": ("", _same),  # the state of progressive growing
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
    r"(.*/)?lod": ("", _same),
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
