"""Options that a network of another program was made with: which change what it computes, and which do not.

Tensors decide what a network is. An option that is not known does no harm when it is switched off, when it is about
training or about how something is computed, when it says what a StyleGAN2 does anyway, or when it repeats a size that
the tensors have. Any other is refused by its name, for it may change the picture.
"""

import re
from collections.abc import Collection
from math import isclose, log2, sqrt
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
# Words in the names of options that are sizes.
_SIZES = re.compile(
    "base|c|ch|channels|chn|class|classes|colors|depth|dim|dims|dimension|dimensions|dlatent|features|fmap|"
    "fmaps|h|height|hidden|hw|image|img|in|input|inputs|label|labels|latent|latents|layer|layers|log2|map|"
    "mapping|max|min|n|num|number|of|out|output|outputs|res|resolution|resolutions|size|sizes|start|style|w|"
    "wh|width|ws|z"
)
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
    if not _is_idle(name, value, _sizes_of(config), 0):
        raise ValueError(f"its network was made with the option {shown(name)}, which StyleGAN2 does not have")


def _is_idle(name: str, value: Any, sizes: Collection[float], depth: int) -> bool:
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
            and all(isinstance(inner, str) and _is_idle(inner, item, sizes, depth + 1) for inner, item in value.items())
        )
    return bool(words) and all(map(_SIZES.fullmatch, words)) and _repeats(value, sizes)


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


def _repeats(value: Any, sizes: Collection[float]) -> bool:
    """Whether a number, or each of a few, is one of the sizes."""
    values = value if isinstance(value, list | tuple) and len(value) <= _MOST else [value]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and v in sizes for v in values)


def _sizes_of(config: ImageConfig) -> set[float]:
    counts = [config.height, config.width, config.channels, config.classes, config.mapping_layers, *config.base]
    counts += [
        config.doublings,
        config.doublings + 1,
        config.channel_base,
        config.channel_base // 2,
        config.channel_max,
    ]
    counts += [
        int(log2(max(config.height, config.width))),
        *(config.channels_at(k) for k in range(config.doublings + 1)),
    ]
    counts += [max(config.size_at(k)) for k in range(config.doublings + 1)]
    if isinstance(config, GeneratorConfig):
        counts += [config.z_dim, config.w_dim, config.num_ws]
    return set(counts)
