"""The modules of an official PyTorch network as its pickle records them: tensors by name, and the fields of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from models.stylegan2.foreign.architecture import (
    BuiltNetwork,
    NetworkSettings,
    build,
    check_filters,
    check_layers,
    check_option,
    clamp_of,
    expect,
    group_of,
)
from models.stylegan2.foreign.nvlabs import ARCHITECTURES
from models.stylegan2.foreign.records import Persistent, demand
from system.text import shown

MOST_ENTRIES = 20_000  # of all tables of tensors and modules together; the largest official network has 1,000
LONGEST_NAME = 200  # with those of the modules around it, which limits the depth

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


def take_apart(record: Persistent) -> Modules:
    """Collect the parameters, buffers (frozen weights are buffers) and modules of a network.

    Raises:
        ValueError: for modules of other networks, by their names, and for more entries than allowed.
    """
    found = Modules({}, {}, {})
    waiting, entries = [("", record)], 0
    while waiting:
        name, module = waiting.pop()
        found.classes[name], found.fields[name] = module.class_name, module.state
        _check_class(name, module.class_name)
        for group in ("_parameters", "_buffers", "_modules"):
            for own, value in _table(module.state.get(group), group).items():
                path, entries = f"{name}.{own}" if name else own, entries + 1
                if entries > MOST_ENTRIES or len(path) > LONGEST_NAME:
                    raise ValueError("it has more tensors and modules, or longer names, than any StyleGAN2")
                if isinstance(value, Persistent):
                    waiting.append((path, value))
                elif value is not None:
                    demand(isinstance(value, Tensor), path, value)
                    found.tensors[path] = value
    return found


def network(name: str, modules: Modules) -> BuiltNetwork:
    """Our network for theirs; `name` is G, G_ema or D.

    Raises:
        ValueError: if no StyleGAN2 has these modules, or theirs computes something else.
    """
    options = _options(modules.fields[""].get("_init_kwargs"))
    built = build(name, modules.tensors, _settings(modules, options))
    config = built.config
    sizes = {"c_dim": config.classes, "img_resolution": config.height, "img_channels": config.channels}
    if name != "D":
        sizes |= {"z_dim": config.z_dim, "w_dim": config.w_dim, "num_ws": config.num_ws}
    for said in (options, modules.fields[""]):
        expect("discriminator" if name == "D" else "generator", said, **sizes)
    for path, kind in modules.classes.items():
        architecture = {"architecture": ARCHITECTURES[config.architecture]} if kind in _BLOCKS else {}
        expect(path, modules.fields[path], **_KNOWN.get(kind, architecture))
    for option, value in options.items():
        if option not in _OPTIONS:
            check_option(option, value, config)
    check_layers(built, modules.fields)
    check_filters(modules.tensors)
    return built


def _settings(modules: Modules, options: Mapping[str, Any]) -> NetworkSettings:
    clamps = {
        clamp_of(modules.fields[name].get("conv_clamp"))
        for name, kind in modules.classes.items()
        if kind in _CLAMPED and not name.endswith("skip")
    }
    if len(clamps) > 1:
        spelled = " and ".join(f"{value:g}" for value in sorted(clamps)[:2])
        raise ValueError(f"its layers have different limits (conv_clamp {spelled}), expected one limit")
    group = group_of(modules.fields.get("b4.mbstd", {}).get("group_size", 4))
    return NetworkSettings(sum(clamps), group, options.get("channel_base"), options.get("channel_max"))


def _options(kwargs: Any, levels: int = 3) -> dict[str, Any]:
    """The arguments of a network's constructor, with those of nested tables."""
    options: dict[str, Any] = {}
    for name, value in _table(kwargs, "_init_kwargs").items():
        if name not in _NESTED:
            options[name] = value
        elif levels:
            options |= _options(value, levels - 1)
    return options


def _check_class(name: str, kind: str) -> None:
    if kind == "SynthesisInput":
        raise ValueError(
            "it is a StyleGAN3 network of another configuration: only StyleGAN3 networks of the configuration "
            "stylegan2 can be read here"
        )
    if kind not in _CLASSES:
        what = f"its module {shown(name)}" if name else "its network"
        raise ValueError(f"{what} is of the class {shown(kind)}, which StyleGAN2 does not have")


def _table(value: Any, what: str) -> dict[str, Any]:
    """A table with names as keys; {} for None."""
    fits = isinstance(value, dict) and len(value) <= MOST_ENTRIES and all(isinstance(name, str) for name in value)
    demand(value is None or fits, what, value)
    return value or {}
