"""Options that forks of the official programs add: which may change what a network computes."""

import re
from math import isclose, sqrt
from typing import Any

from models.stylegan2.config import GeneratorConfig, ImageConfig
from system.text import shown

_MOST = 100  # entries of a table of options
_DEEPEST = 2

# Words in the names of options that concern training or speed only.
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
# Words that make up the names of sizes: `num_channels_in`, `img_size`.
_SIZE = re.compile(
    "z|latents?|dlatent|styles?|c|class|classes|labels?|base|ch|channels?|chn|colors|features|fmaps?|hidden|nc|nf|depth|"
    "doublings|layers?|map|mapping|ws|min|start|init|log2|dims?|dimensions?|h|height|hw|image|img|res|resolutions?|"
    "side|sizes?|w|wh|width|in|inputs?|max|n|num|number|of|out|outputs?"
)
# What every StyleGAN2 does. Another value of such an option changes the picture.
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
    """Refuse an unknown option that may change what a network computes.

    An option is harmless if it is off or empty, concerns training or speed, says what every StyleGAN2 does, or repeats
    a size that the tensors have.

    Args:
        name: of the option.
        value: plain data from a file.
        config: of the network that has the file's tensors.

    Raises:
        ValueError: naming the option.
    """
    if not _is_harmless(name, value, config, 0):
        raise ValueError(f"its network was made with the option {shown(name)}, which StyleGAN2 does not have")


def is_same(value: Any, known: Any) -> bool:
    """Whether a value from a file equals a known one: a number (rounding aside), a text, or a few of these."""
    if isinstance(known, list | tuple):
        return type(value) is type(known) and len(value) == len(known) and all(map(is_same, value, known))
    if isinstance(known, bool | str) or isinstance(value, bool | str):
        return type(value) is type(known) and value == known
    return isinstance(value, int | float) and abs(value) < 1e30 and isclose(value, known, rel_tol=1e-5)


def _is_harmless(name: str, value: Any, config: ImageConfig, depth: int) -> bool:
    name = name[:100].lower()
    usual = next((usual for pattern, usual in _USUAL.items() if re.fullmatch(pattern, name)), ())
    if usual and value is not None:
        return any(is_same(value, known) for known in usual)
    words = re.findall(r"[a-z]+\d*", name)
    if _is_off(value) or name in _IDLE_NAMES or any(map(_IDLE.fullmatch, words)):
        return True
    if isinstance(value, dict):
        return (
            depth < _DEEPEST
            and len(value) <= _MOST
            and all(isinstance(k, str) and _is_harmless(k, v, config, depth + 1) for k, v in value.items())
        )
    values = value if isinstance(value, list | tuple) and len(value) <= _MOST else [value]
    sizes = _sizes(config)
    return all(map(_SIZE.fullmatch, words)) and all(type(v) in (int, float) and v in sizes for v in values)


def _is_off(value: Any) -> bool:
    if value is None or (isinstance(value, bool | int | float) and value == 0):
        return True
    return isinstance(value, str | bytes | list | tuple | dict | set) and not value


def _sizes(config: ImageConfig) -> set[int]:
    """All sizes of a network."""
    steps = range(config.doublings + 1)
    fields = {value for value in config.model_dump().values() if type(value) is int}
    if isinstance(config, GeneratorConfig):
        fields.add(config.num_ws)
    logs = {max(config.size_at(k)).bit_length() - 1 for k in steps}
    return fields | {config.doublings, *config.base} | set(map(config.channels_at, steps)) | logs
