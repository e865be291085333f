"""What an official file states about its network, in options and fields, checked against the network built here."""

import re
from collections.abc import Mapping
from math import isclose
from typing import Any

from torch import nn

from models.stylegan2.foreign.architecture import official_names
from models.stylegan2.foreign.records import Record, demand
from system.text import printable, shown

ARCHITECTURES = {"skip": "skip", "residual": "resnet", "plain": "orig"}  # ours -> the official name
_WHOLE_BATCH = 2**16  # a group as large as any batch
_NESTED = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs")

_IGNORED = {  # options that do not concern the function of a network, or are compared with its layers
    *("randomize_noise", "truncation_psi", "truncation_cutoff", "dlatent_avg_beta", "style_mixing_prob", "w_avg_beta"),
    *("num_fp16_res", "fp16_channels_last", "conditioning", "fused_modconv", "fused_modconv_default", "structure"),
    *("z_dim", "w_dim", "num_ws", "num_layers", "mapping_layers", "mapping_fmaps", "cmap_dim", "dtype", "conv_clamp"),
    *("channel_base", "channel_max", "fmap_base", "fmap_max", "embed_features", "layer_features", "lr_multiplier"),
    *("kernel_size", "freeze_layers", "mbstd_group_size"),
}
# Words in the names of options that concern training or speed only.
_IDLE = re.compile(
    "(.*_)?(adam|ada|aug|augment|batch|beta|bf16|cache|checkpoint|cuda|cudnn|data|debug|device|dropout|dtype|ema|fp16|"
    "fp32|freeze|frozen|fused|gamma|gpu|gpus|impl|init|kimg|log|loss|lr|metrics|name|optimizer|pl|precision|reg|"
    "resume|seed|snap|snapshot|structure|train|trainable|training|verbose|workers|xla)(_.*)?"
)
_SIZE_WORD = (
    "(base|c|ch|channels?|class|classes|dims?|h|height|image|img|in|latents?|layers|log2|map|mapping|max|min|n|num|out|"
    "res|resolution|sizes?|w|width|z)"
)
_SIZE = re.compile(f"{_SIZE_WORD}(_{_SIZE_WORD})*")

_USUAL: dict[str, Any] = {  # what every StyleGAN2 does; another value of such an option changes the picture
    r"(.*_)?(act|activation|act_func|nonlinearity)": "lrelu",
    r"(.*_)?(resample|blur|fir)_?(kernel|filter)": [1, 3, 3, 1],
    r"(.*_)?(demod\w*|modulate|bias|noise|mbstd|pixel_?norm|normali[sz]e\w*)": True,
}


def pairs(value: Any, what: str, most: int) -> list[tuple[str, Any]]:
    """The names and values of a table, which may be a list of them; none for None."""
    found = [] if value is None else list(value.items()) if isinstance(value, dict) else value
    fits = isinstance(found, list) and len(found) <= most
    fits = fits and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in found)
    demand(fits, what, value)
    return found


def flat(kwargs: Any, most: int, levels: int = 3) -> dict[str, Any]:
    """The arguments of a network's constructor, with those of nested tables."""
    options: dict[str, Any] = {}
    for name, value in pairs(kwargs, "the options", most):
        options |= {name: value} if name not in _NESTED else flat(value, most, levels - 1) if levels else {}
    return options


def stated_by(name: str, config: Any) -> dict[str, Any]:
    """The options of both official programs that a network's configuration decides, with their values."""
    known = dict.fromkeys(("img_resolution", "resolution"), config.height)
    known |= dict.fromkeys(("img_channels", "num_channels"), config.channels)
    known |= dict.fromkeys(("c_dim", "label_size"), config.classes)
    if name != "D":
        known |= {"z_dim": config.z_dim, "latent_size": config.z_dim, "num_ws": config.num_ws}
        known |= {"w_dim": config.w_dim, "dlatent_size": config.w_dim}
    fixed = {"fmap_decay": 1, "fmap_min": 1, "mapping_lrmul": 0.01, "mbstd_num_features": 1, "mbstd_num_channels": 1}
    return {"architecture": ARCHITECTURES[config.architecture]} | known | fixed


def check_options(name: str, options: Mapping[str, Any], known: Mapping[str, Any], config: Any) -> None:
    """Refuse options of other values than the known ones, and unknown options that may change what a network computes.

    An unknown option is harmless if it is off or empty, concerns training or speed, or repeats what every StyleGAN2
    does or a size that the tensors have.
    """
    expect(name, options, known)
    sizes = {size for size in config.model_dump().values() if type(size) is int} | {4, config.doublings + 2}
    for option, value in options.items():
        if option in known or option in _IGNORED:
            continue
        words = option[:100].lower()
        if usual := [usual for pattern, usual in _USUAL.items() if re.fullmatch(pattern, words)]:
            expect(name, options, {option: usual[0]})
            continue
        empty = isinstance(value, bool | int | float | str | bytes | list | tuple | dict | None) and not value
        is_size = _SIZE.fullmatch(words) and type(value) is int and value in sizes
        if not (empty or is_size or _IDLE.fullmatch(words)):
            raise ValueError(f"its network was made with the option {shown(option)}, which StyleGAN2 does not have")


def check_layers(network: nn.Module, records: Mapping[str, Record]) -> None:
    """Check that the layers state the activations and gains of ours."""
    for theirs, ours in official_names(network).items():
        layer, _, kind = theirs.rpartition(".")
        if kind == "weight" and layer in records:
            module = network.get_submodule(ours.rpartition(".")[0])
            known: dict[str, Any] = {gain: getattr(module, gain, None) for gain in ("weight_gain", "bias_gain")}
            styled = re.fullmatch(r"synthesis\.b\d+\.conv[01]", layer)
            known["activation"] = "lrelu" if styled else getattr(module, "act", None)
            expect(layer, records[layer].state, known)


def clamp_of(value: Any) -> float:
    """Our limit of activations for their `conv_clamp`; None means no limit."""
    return 0.0 if value is None else float(_positive("conv_clamp", value, isinstance(value, int | float)))


def group_of(value: Any) -> int:
    """Our group of the minibatch standard deviation for theirs; None means the whole batch."""
    return min(_positive("mbstd_group_size", value or _WHOLE_BATCH, type(value) in (int, type(None))), _WHOLE_BATCH)


def expect(what: str, said: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Check that a file states the known values. Values that are not stated, or not known (None), are not checked."""
    for name, value in known.items():
        if value is not None and said.get(name) is not None and not _is_same(said[name], value):
            value = float(f"{value:.6g}") if isinstance(value, float) else value
            name = printable(name, 80)
            raise ValueError(f"its {what} has the {name} {shown(said[name])}, expected {shown(value)}")


def _positive(what: str, value: Any, fits: bool) -> Any:
    if isinstance(value, bool) or not fits or not 0 < value < 1e30:
        raise ValueError(f"it is damaged (its {what} is {shown(value)})")
    return value


def _is_same(value: Any, known: Any) -> bool:
    """Whether a value from a file equals a known one: a number (rounding aside), a text, or a list of numbers."""
    if isinstance(known, list):
        return isinstance(value, list) and len(value) == len(known) and all(map(_is_same, value, known))
    if isinstance(known, bool | str) or isinstance(value, bool | str):
        return type(value) is type(known) and value == known
    return isinstance(value, int | float) and abs(value) < 1e30 and isclose(value, known, rel_tol=1e-5)
