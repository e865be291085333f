"""Variables of the official TensorFlow implementations of StyleGAN2 and StyleGAN2-ADA, as official PyTorch tensors.

Their layers compute what the PyTorch ones compute, with other names and another order of the same numbers: dense
weights are [in, out], convolutions [height, width, in, out]; an upsampling convolution is stored turned around; and the
1 of a style's bias is added when it is used.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from models.stylegan2.foreign.records import demand
from system.text import shown

_Change = Callable[[np.ndarray], np.ndarray]
_Rules = dict[str, tuple[str, _Change]]
_same: _Change = np.asarray
_dense: _Change = np.transpose


def tensors(name: str, variables: Mapping[str, np.ndarray | float]) -> dict[str, Tensor]:
    """The variables of G, G_ema or D under official PyTorch names. Raises ValueError for a variable of no StyleGAN2."""
    found: dict[str, Tensor] = {}
    for variable, values in variables.items():
        theirs, change = _place(_D if name == "D" else _G, variable)
        demand(theirs not in found, "a variable has two values", theirs)
        if theirs:
            try:
                found[theirs] = torch.from_numpy(np.array(change(np.asarray(values)), np.float32, order="C"))
            except (ValueError, IndexError) as error:
                shape = shown(np.shape(values))
                raise ValueError(f"its {variable} has shape {shape}, which no such variable has") from error
    # A network that has grown numbers its RGB layers from the largest size, and uses only the first.
    sizes = [int(size[1]) for place in found if (size := re.search(r"\bb(\d{1,5})\.conv", place))]
    return {place.replace(_LARGEST, str(max(sizes, default=4))): tensor for place, tensor in found.items()}


def _place(rules: _Rules, name: str) -> tuple[str, _Change]:
    """The official PyTorch name of a variable; "" if nothing depends on the variable."""
    for pattern, (theirs, change) in rules.items():
        if found := re.fullmatch(pattern, name):
            return _noise(int(found[1])) if theirs == _NOISE else found.expand(theirs), change
    raise ValueError(f"its variable {shown(name)} has no place in StyleGAN2")


def _noise(number: int) -> str:
    """The name of noise 0, of the 4x4 layer, 1, ...; every further size has two."""
    k, conv = divmod(number + 1, 2)
    return f"synthesis.b{4 << k}.conv{conv}.noise_const"


def _convolution(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


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
_BOTH = {
    **_layer(r"mapping/Dense(\d+)", r"mapping.fc\1", _dense),
    **_layer("mapping/LabelEmbed", "mapping.embed", _dense),
    r"(.*/)?lod": ("", _same),  # the state of progressive growing
}
_G = {
    **_BOTH,
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
    **_BOTH,
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
