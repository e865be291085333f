"""Networks of ours for the tensors of other programs: names, shapes, configurations.

Names are translated by tables of rules. A rule is a pattern in our name and its replacement: a template, or a function
of the numbers in the pattern's groups.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.foreign import Converted, Shapes, renamed, shape_of, shapes_of
from models.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.layers import blur
from system.text import printable
from torch_utils import config as configs

Rules = Sequence[tuple[str, str | Callable[..., str]]]
Built = tuple[Generator | Discriminator, dict[str, Tensor]]  # on the meta device, and its tensors by our names

SAMPLES = 10_240  # their mean is off by a hundredth of the spread of w
BATCH = 1_024
MOST_PRODUCTS = SAMPLES * 2**23  # a few seconds of one core: all samples of a mapping of 8 layers of width 1024
_FILTER = "resample_filter"  # a constant in their files
_MOST_SIZES = 12  # 4 to 8192 pixels


def translated(names: Iterable[str], rules: Rules) -> dict[str, str]:
    """Their name -> ours, for each of our names. Every rule is applied in turn."""
    found = {}
    for ours in names:
        theirs = ours
        for pattern, rule in rules:
            if part := re.search(pattern, theirs):
                new = part.expand(rule) if isinstance(rule, str) else rule(*map(int, part.groups()))
                theirs = theirs[: part.start()] + new + theirs[part.end() :]
        found[theirs] = ours
    return found


def official_names(network: Any) -> dict[str, str]:
    """The name in the official StyleGAN2-ADA networks -> ours, for every tensor. Shapes and values are the same."""
    top = 4 << network.config.doublings
    rules: Rules = (
        (r"\.layers\.", ".fc"),
        ("w_average", "w_avg"),
        (r"synthesis\.const", "synthesis.b4.const"),
        (r"synthesis\.blocks\.(\d+)", lambda k: f"synthesis.b{4 << k}"),
        (r"^blocks\.(\d+)", lambda i: f"b{top >> i}"),
        ("^from_rgb", f"b{top}.from_rgb"),
        ("^tail", "b4"),
        ("from_rgb", "fromrgb"),
        (r"\.rgb\.", ".torgb."),
        (r"(conv\d|torgb)\.conv", r"\1"),
        (r"noise\.strength", "noise_strength"),
        (r"noise\.fixed", "noise_const"),
    )
    return translated(network.state_dict(), rules)


def converted(names: Iterable[str], read: Callable[[str], Built], source: dict[str, Any]) -> Converted:
    """The networks of a file of StyleGAN2: `read` gives one of these names, or raises ValueError with the reason.

    If the file's discriminator has another architecture, it is skipped as long as there is a generator: most users only
    want the generator, and many forks changed only D. `source` are facts about the file, for the metadata.
    """
    metadata: dict[str, Any] = {"source": source}
    tensors: dict[str, Tensor] = {}
    names = list(names)
    for name in names:
        try:
            network, own = read(name)
        except ValueError as error:
            if name != "D" or len(names) == 1:
                raise
            source["left_out"] = {name: printable(str(error))}
            continue
        metadata["discriminator" if name == "D" else "generator"] = configs.to_dict(network.config)
        tensors |= {f"{name}.{key}": tensor for key, tensor in own.items()}
    return Converted("stylegan2", metadata, tensors)


def build(name: str, tensors: Mapping[str, Tensor], **stated: Any) -> Built:
    """The network (`name` is G, G_ema or D) of these tensors with official names; `stated` as of `network_of`.

    Raises ValueError if no StyleGAN2 has these tensors, or their filters are not ours.
    """
    network, own, ours = network_of(name, shapes_of(tensors), **stated), dict(tensors), blur(torch.device("cpu"))
    for key in [key for key in tensors if key.rpartition(".")[2] == _FILTER]:
        check_filter(key, own.pop(key), ours)
    return network, renamed(own, official_names(network), network)


def check_filter(name: str, tensor: Tensor, expected: Tensor) -> None:
    """Check that images are resampled with our filter."""
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-6):
        raise ValueError(f"its {name} is another filter, expected (1, 3, 3, 1)")


def network_of(
    name: str, shapes: Shapes, clamp: float = 0.0, group: int = 4, base: Any = None, most: Any = None
) -> Generator | Discriminator:
    """The network, on the meta device, whose tensors have these official names and shapes.

    `base` and `most` are `channel_base` and `channel_max` as stated, taken if they agree with the widths of the layers.
    """
    is_d = name == "D"
    start, rgb, conv = ("b", "fromrgb", "conv0") if is_d else ("synthesis.b", "torgb", "conv1")
    sizes = _sizes(shapes, start)
    layers = [f"{start}{size}.{conv}.weight" for size in sizes]
    layers[0] = "b4.conv.weight" if is_d else layers[0]
    base, most = _width_rule(sizes, [shape_of(shapes, layer, 4)[0] for layer in layers], base, most)
    embed = "mapping.embed.weight"
    embedding, classes = shape_of(shapes, embed, 2) if embed in shapes else (0, 0)
    architecture = "skip" if any(f"{start}{size}.{rgb}.weight" in shapes for size in sizes[:-1]) else "plain"
    found = {"height": sizes[-1], "width": sizes[-1], "channel_base": base, "channel_max": most, "classes": classes}
    found |= {
        "clamp": clamp,
        "channels": shape_of(shapes, f"{start}{sizes[-1]}.{rgb}.weight", 4)[1 if is_d else 0],
        "mapping_layers": sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in shapes) or 8,
        "architecture": "residual" if any(f"{start}{size}.skip.weight" in shapes for size in sizes) else architecture,
    }
    if is_d:
        width, features, *_ = shape_of(shapes, layers[0], 4)
        if (maps := features - width) != 1:
            raise ValueError(f"its discriminator has {maps} maps of the minibatch standard deviation, expected 1")
        found["mbstd_group"] = group
    else:
        found["w_dim"], inputs = shape_of(shapes, "mapping.fc0.weight", 2)
        found["z_dim"] = inputs - embedding
    try:
        config: Any = configs.from_dict(DiscriminatorConfig if is_d else GeneratorConfig, found)
    except ValueError as error:
        raise ValueError(f"its network cannot be built here: {error}") from error
    with torch.device("meta"):
        return Discriminator(config) if is_d else Generator(config)


@torch.no_grad()
def average_w(mapping: Callable[[Tensor], Tensor], z_dim: int, weights: int) -> tuple[Tensor, str]:
    """The mean of w [w_dim] over latents of a fixed seed, and a description of it for the metadata.

    Very large mapping networks, by their number of `weights`, get fewer latents.
    """
    batches = max(1, min(SAMPLES, MOST_PRODUCTS // weights) // BATCH)
    source = torch.Generator().manual_seed(0)
    means = [mapping(torch.randn(BATCH, z_dim, generator=source)).mean(dim=0) for _ in range(batches)]
    return torch.stack(means).mean(dim=0), f"mean of {batches * BATCH} mapped latents"


def _sizes(shapes: Shapes, start: str) -> list[int]:
    """The sizes that have blocks: 4, 8, 16, ..."""
    found = {int(m[1]) for name in shapes if (m := re.match(re.escape(start) + r"(\d{1,5})\.", name))}
    sizes = [4 << k for k in range(max(len(found), 2))]
    if found != set(sizes) or len(sizes) > _MOST_SIZES:
        spelled = ", ".join(map(str, sorted(found)[:_MOST_SIZES])) or "no size"
        raise ValueError(f"it has blocks for {spelled}, expected 4, 8, 16, ... pixels")
    return sizes


def _width_rule(sizes: list[int], widths: list[int], base: Any, most: Any) -> tuple[int, int]:
    """(channel_base, channel_max) that give these widths at these sizes, preferably those that the file states."""
    smallest_base = max([4, *(size * width for size, width in zip(sizes, widths, strict=True) if width > 1)])
    for a, b in ((base, most), (smallest_base, max(widths))):
        if type(a) is int and type(b) is int and widths == [max(1, min(a // size, b)) for size in sizes]:
            return a, b
    raise ValueError(
        f"its layers are {', '.join(map(str, widths))} wide at {', '.join(map(str, sizes))} pixels, "
        "expected widths that halve as the size doubles, up to a largest width"
    )
