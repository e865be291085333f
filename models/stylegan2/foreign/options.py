"""Options that a network of another program was made with: which change what it computes, and which do not.

Tensors decide what a network is. An option that is not known does no harm when it is switched off, when it is about
training or about how something is computed, when it says what a StyleGAN2 does anyway, or when it repeats a size that
the tensors have. Any other is refused by its name, for it may change the picture.
"""

import re
from collections.abc import Collection
from math import isclose, sqrt
from typing import Any

from models.stylegan2.config import GeneratorConfig, ImageConfig
from system.text import shown

_MOST = 100  # entries of a table of options
_DEEPEST = 2

# Words in the names of options that training and speed depend on, and pictures do not.
_IDLE = re.compile(
    "adam|ada|aug|augment|augpipe|beta|beta1|beta2|bf16|cache|checkpoint|cuda|cudnn|dataset|debug|dropout|"
    "ema|fp16|fp32|freeze|freezed|frozen|fused|gamma|gpu|gpus|impl|kimg|lazy|log|logging|loss|lr|lrate|"
    "metrics|mixing|nimg|nhwc|optim|optimizer|pl|precision|ramp|randomize|reg|regularization|regularize|"
    "resume|seed|snap|snapshot|tick|train|trainable|training|verbose|version|workers|xla"
)
_IDLE_NAMES = {
    *("batch", "batch_size", "batch_gpu", "minibatch_size", "channels_last", "data", "data_format", "device", "dtype"),
    *("force_clean_graph", "func_name", "name", "init", "init_std", "weight_init", "structure", "conditioning"),
}
# Words in the names of options that are sizes, by what they are the size of; the first line that has a word counts.
_SIZES = {
    "latents": "z latent latents dlatent style styles",
    "classes": "c class classes label labels",
    "features": "base ch channel channels chn colors features fmap fmaps hidden nc nf",
    "layers": "depth doublings layer layers map mapping ws",
    "start": "min start init",
    "log2": "log2",
    "dimensions": "dim dims dimension dimensions",
    "pixels": "h height hw image img res resolution resolutions side size sizes w wh width",
}
_FILLING = "in input inputs max n num number of out output outputs"  # words that alone name no size
# What a StyleGAN2 does anyway. An option of such a name changes the picture where it says anything else.
_USUAL: dict[str, tuple[Any, ...]] = {
    r"(.*_)?(act|activation|act_func|nonlinearity)": ("lrelu",),
    r"(.*_)?(resample|blur|fir)_?(kernel|filter)": ([1, 3, 3, 1], (1, 3, 3, 1)),
    r"(.*_)?(demod|demodulate|demodulation|modulate|bias)": (True,),
    r"(use_)?(noise|fir|mbstd|pixel_?norm|styles?)": (True,),
    r"normali[sz]e(_latents?|_z|_input)?": (True,),
    r"(conv_)?kernel(_size)?": (3,),
    r"(.*_)?lr_?(mul|multiplier|mlp)": (0.01,),
    r"(.*_)?(gain|scale)": (1, sqrt(2)),
    r"(negative_)?slope|alpha": (0.2,),
    r"(up|down)(_factor|_?sampl(e|ing))?": (2,),
}


def check_option(name: str, value: Any, config: ImageConfig) -> None:
    """Refuses an option that is not known and may change what a network computes.

    Args:
        name: of the option.
        value: plain data out of a file.
        config: the network that its tensors are of.

    Raises:
        ValueError: naming the option.
    """
    if not _is_idle(name, value, config, 0):
        raise ValueError(f"its network was made with the option {shown(name)}, which StyleGAN2 does not have")


def _is_idle(name: str, value: Any, config: ImageConfig, depth: int) -> bool:
    name = name[:100].lower()
    for pattern, usual in _USUAL.items():
        if value is not None and re.fullmatch(pattern, name):
            return any(is_same(value, known) for known in usual)
    if _is_off(value):
        return True
    words = re.findall(r"[a-z]+\d*", name)
    if name in _IDLE_NAMES or any(map(_IDLE.fullmatch, words)):
        return True
    if isinstance(value, dict):
        return (
            depth < _DEEPEST
            and len(value) <= _MOST
            and all(
                isinstance(inner, str) and _is_idle(inner, item, config, depth + 1) for inner, item in value.items()
            )
        )
    sizes = _sizes(set(words), config)
    return sizes is None or _repeats(value, sizes)


def _is_off(value: Any) -> bool:
    if value is None or (isinstance(value, bool | int | float) and value == 0):
        return True
    return isinstance(value, str | bytes | list | tuple | dict | set) and not value


def is_same(value: Any, known: Any) -> bool:
    """Whether a value out of a file is a known one: a number, a text, or a few numbers."""
    if isinstance(known, list | tuple):
        return type(value) is type(known) and len(value) == len(known) and all(map(is_same, value, known))
    if isinstance(known, bool | str) or isinstance(value, bool | str):
        return type(value) is type(known) and value == known
    return isinstance(value, int | float) and abs(value) < 1e30 and isclose(value, known, rel_tol=1e-5)


def _repeats(value: Any, sizes: Collection[int]) -> bool:
    """Whether a number, or each of a few, is one of the sizes."""
    values = value if isinstance(value, list | tuple) and len(value) <= _MOST else [value]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and v in sizes for v in values)


def _sizes(words: set[str], config: ImageConfig) -> set[int] | None:
    """The sizes that an option of these words can repeat: none where a word is about something else, and None where
    the network has no part in them, as a discriminator has not in latents.
    """
    kinds = {kind: set(line.split()) for kind, line in _SIZES.items()}
    kind = next((kind for kind, line in kinds.items() if words & line), "")
    if not kind or not words <= set(_FILLING.split()).union(*kinds.values()):
        return set()
    steps = range(config.doublings + 1)
    sides = [max(config.size_at(k)) for k in steps]
    latents = {config.z_dim, config.w_dim} if isinstance(config, GeneratorConfig) else None
    found: dict[str, set[int] | None] = {
        "latents": latents,
        "classes": {config.classes},
        "features": {config.channels, config.channel_base, config.channel_max, *map(config.channels_at, steps)},
        "layers": {config.mapping_layers, config.doublings, 2 * config.doublings + 1, 2 * config.doublings + 2},
        "start": set(config.base),
        "log2": {side.bit_length() - 1 for side in sides},
        "dimensions": latents,
        "pixels": {config.height, config.width},
    }
    return found[kind]
