"""The modules of an official PyTorch network as its pickle records them: tensors by name, and the fields of each."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from models.stylegan2.foreign.architecture import (
    Built,
    Settings,
    build,
    check_filters,
    check_layers,
    clamp_of,
    expect,
    group_of,
)
from models.stylegan2.foreign.nvlabs import ARCHITECTURES
from models.stylegan2.foreign.options import check_option
from models.stylegan2.foreign.records import Persistent
from system.text import shown

MOST_ENTRIES = 20_000  # of all tables of tensors and modules together; the largest official network has 1,000
LONGEST_NAME = 200
DEEPEST = 20

_CLASSES = {
    *("Generator", "MappingNetwork", "SynthesisNetwork", "SynthesisBlock", "SynthesisLayer", "ToRGBLayer"),
    *("Discriminator", "DiscriminatorBlock", "DiscriminatorEpilogue", "MinibatchStdLayer"),
    *("Conv2dLayer", "FullyConnectedLayer"),
}
_BLOCKS = ("SynthesisBlock", "DiscriminatorBlock", "DiscriminatorEpilogue")
_CLAMPED = ("SynthesisLayer", "ToRGBLayer", "Conv2dLayer")
_OPTIONS = {
    *("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_layers", "w_avg_beta", "num_ws"),
    *("channel_base", "channel_max", "num_fp16_res", "conv_clamp", "architecture", "fused_modconv_default"),
    *("embed_features", "layer_features", "activation", "lr_multiplier", "resample_filter", "use_noise", "kernel_size"),
    *("cmap_dim", "freeze_layers", "mbstd_group_size", "mbstd_num_channels", "fp16_channels_last"),
}
_NESTED = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs")
_KNOWN: dict[str, dict[str, Any]] = {  # fields of modules that change what they compute
    "SynthesisLayer": {"use_noise": True, "padding": 1},
    "MinibatchStdLayer": {"num_channels": 1},
}


class Modules(NamedTuple):
    """A network taken apart, by dotted names; the network itself is `""`."""

    tensors: dict[str, Tensor]
    classes: dict[str, str]
    fields: dict[str, Mapping[Any, Any]]  # everything that a module holds
    options: dict[str, Any]  # arguments of the network's constructor, nested tables included
    sources: list[str]  # SHA-256 of the source code that the modules came with


def take_apart(record: Persistent) -> Modules:
    """Collect the parameters, buffers (frozen weights are buffers) and modules of a network.

    Raises:
        ValueError: for modules of other networks, by their names, and for more depth or entries than allowed.
    """
    found = Modules({}, {}, {}, {}, [])
    waiting, entries = [("", record, 0)], 0
    while waiting:
        name, module, depth = waiting.pop()
        found.classes[name], found.fields[name] = module.class_name, module.state
        found.sources.append(module.source_sha256)
        for group in ("_parameters", "_buffers", "_modules"):
            table = _table(module.state.get(group), f"{name} {group}")
            entries += len(table)  # tables may be shared by many modules
            if depth > DEEPEST or entries > MOST_ENTRIES:
                raise ValueError(
                    f"it has more than {MOST_ENTRIES:,} tensors and modules, or more than {DEEPEST} levels: no "
                    "StyleGAN2 has as many"
                )
            for own, value in table.items():
                path = f"{name}.{own}" if name else own
                if isinstance(value, Persistent):
                    waiting.append((path, value, depth + 1))
                elif isinstance(value, Tensor):
                    found.tensors[path] = value
                elif value is not None:
                    raise ValueError(f"it is damaged (its {shown(path)} is {shown(value)})")
    _refuse_others(found.classes, found.tensors)
    _collect(record.state.get("_init_kwargs"), "_init_kwargs", found.options, 0)
    return found


def network(name: str, modules: Modules) -> Built:
    """Our network for theirs; `name` is G, G_ema or D.

    Raises:
        ValueError: if no StyleGAN2 has these modules, or theirs computes something else.
    """
    built = build(name, modules.tensors, _settings(modules))
    config = built.config
    sizes = {"c_dim": config.classes, "img_resolution": config.height, "img_channels": config.channels}
    if name != "D":
        sizes |= {"z_dim": config.z_dim, "w_dim": config.w_dim, "num_ws": config.num_ws}
    for said in (modules.options, modules.fields[""]):
        expect("discriminator" if name == "D" else "generator", said, **sizes)
    for path, kind in modules.classes.items():
        architecture = {"architecture": ARCHITECTURES[config.architecture]} if kind in _BLOCKS else {}
        expect(path, modules.fields[path], **_KNOWN.get(kind, architecture))
    for option, value in modules.options.items():
        if option not in _OPTIONS:
            check_option(option, value, config)
    check_layers(built, modules.fields)
    check_filters(modules.tensors)
    return built


def _settings(modules: Modules) -> Settings:
    clamps = {
        clamp_of(modules.fields[name].get("conv_clamp"))
        for name, kind in modules.classes.items()
        if kind in _CLAMPED and not name.endswith("skip")
    }
    if len(clamps) > 1:
        spelled = " and ".join(f"{value:g}" for value in sorted(clamps)[:2])
        raise ValueError(f"its layers have different limits (conv_clamp {spelled}), expected one limit")
    widths = (modules.options.get(name) for name in ("channel_base", "channel_max"))
    base, most = (width if type(width) is int else None for width in widths)
    group = group_of(modules.fields.get("b4.mbstd", {}).get("group_size", 4))
    return Settings(clamps.pop() if clamps else 0.0, group, base, most)


def _collect(kwargs: Any, what: str, options: dict[str, Any], depth: int) -> None:
    """Put the arguments of a constructor into `options`, and those of nested tables."""
    if depth > 2:
        raise ValueError("its options are nested more deeply than those of any StyleGAN2")
    for name, value in _table(kwargs, what).items():
        if name in _NESTED:
            _collect(value, name, options, depth + 1)
        else:
            options[name] = value


def _refuse_others(classes: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    if any(kind == "SynthesisInput" for kind in classes.values()):
        layers = (t for name, t in tensors.items() if re.fullmatch(r"synthesis\.L\d+_\d+_\d+\.weight", name))
        kind = "stylegan3-t" if any(tensor.shape[-1:] == (3,) for tensor in layers) else "stylegan3-r"
        raise ValueError(
            f"it is a StyleGAN3 network of the configuration {kind}: only StyleGAN3 networks of the configuration "
            "stylegan2 can be read here"
        )
    for name, kind in classes.items():
        if kind not in _CLASSES:
            what = f"its module {shown(name)}" if name else "its network"
            raise ValueError(f"{what} is of the class {shown(kind)}, which StyleGAN2 does not have")


def _table(value: Any, what: str) -> dict[str, Any]:
    """A table with names as keys; {} for None."""
    if value is None:
        return {}
    if isinstance(value, dict) and len(value) > MOST_ENTRIES:
        raise ValueError(f"its {shown(what.strip())} has {len(value):,} entries, expected at most {MOST_ENTRIES:,}")
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"it is damaged (its {shown(what.strip())} is {shown(value)})")
    if any(len(name) > LONGEST_NAME for name in value):
        raise ValueError(f"it has names of more than {LONGEST_NAME} letters, which no StyleGAN2 has")
    return value
