"""The modules of an official PyTorch network as its pickle tells them: tensors by name, and what else each held."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from models.stylegan2.foreign.architecture import (
    Built,
    Settings,
    build_discriminator,
    build_generator,
    check_filters,
    check_layers,
    clamp_of,
    expect,
    group_of,
    settle,
)
from models.stylegan2.foreign.nvlabs import ARCHITECTURES
from models.stylegan2.foreign.options import check_option
from models.stylegan2.foreign.records import Persistent
from system.text import shown

MOST_MODULES = 2000  # the largest official network has 150
MOST_ENTRIES = 20_000  # of all their tables of tensors and modules, of which the largest official network has 1,000
LONGEST_NAME = 4096
_DEEPEST = 20

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
_KNOWN: dict[str, dict[str, Any]] = {  # what modules may say of themselves
    "SynthesisLayer": {"use_noise": True, "padding": 1},
    "MinibatchStdLayer": {"num_channels": 1},
}


class Modules(NamedTuple):
    """A network taken apart, by dotted names; the network itself is `""`."""

    tensors: dict[str, Tensor]
    classes: dict[str, str]
    fields: dict[str, Mapping[Any, Any]]  # all that a module held
    options: dict[str, Any]  # what the network was made with, whether the file nests it or not
    unknown: dict[str, Any]  # the same, by names that are not known here
    sources: list[str]  # SHA-256 of the sources that the modules came with


def take_apart(record: Persistent) -> Modules:
    """Walks through parameters, buffers (frozen weights are among them) and modules.

    Raises:
        ValueError: for modules of other networks, by their names, and for what is too deep or too much.
    """
    found, count = Modules({}, {}, {}, {}, {}, []), _Count()
    for name, module in _walk("", record, count):
        found.classes[name], found.fields[name] = module.class_name, module.state
        if module.source_sha256 not in found.sources:
            found.sources.append(module.source_sha256)
        for group in ("_parameters", "_buffers"):
            for own, tensor in count.table(module.state.get(group), f"{name} {group}").items():
                if isinstance(tensor, Tensor):
                    found.tensors[_below(name, own)] = tensor
                elif tensor is not None:
                    raise ValueError(f"it is damaged (its tensor {shown(_below(name, own))} is {shown(tensor)})")
    _refuse_others(found.classes, found.tensors)
    _options(_dict(record.state.get("_init_kwargs"), "_init_kwargs"), found)
    return found


def generator(modules: Modules) -> Built:
    """Our generator for theirs. Raises ValueError for what is none, or computes something else."""
    built = build_generator(modules.tensors, _settings(modules))
    config = built.config
    sizes = {"z_dim": config.z_dim, "w_dim": config.w_dim, "num_ws": config.num_ws}
    _check("generator", modules, built, sizes)
    return built


def discriminator(modules: Modules) -> Built:
    """Our discriminator for theirs. Raises ValueError for what is none, or computes something else."""
    group = group_of(modules.fields.get("b4.mbstd", {}).get("group_size", 4))
    built = build_discriminator(modules.tensors, _settings(modules)._replace(mbstd_group=group))
    _check("discriminator", modules, built, {})
    return built


def _check(what: str, modules: Modules, built: Built, sizes: dict[str, int]) -> None:
    """Holds what the file says against what its tensors are."""
    config = built.config
    sizes |= {"c_dim": config.classes, "img_resolution": config.height, "img_channels": config.channels}
    for said in (modules.options, modules.fields[""]):
        settle(what, said, **sizes)
    for name, kind in modules.classes.items():
        known = _KNOWN.get(kind, {})
        if kind in _BLOCKS:
            known = {"architecture": ARCHITECTURES[config.architecture]}
        expect(name, modules.fields[name], **known)
    for name, value in modules.unknown.items():
        check_option(name, value, config)
    check_layers(built, modules.fields)
    check_filters(modules.tensors)


def _settings(modules: Modules) -> Settings:
    clamps = {
        clamp_of(modules.fields[name].get("conv_clamp"))
        for name, kind in modules.classes.items()
        if kind in _CLAMPED and not name.endswith("skip")
    }
    if len(clamps) > 1:
        spelled = " and ".join(f"{value:g}" for value in sorted(clamps)[:2])
        raise ValueError(f"its layers are limited differently (conv_clamp {spelled}), and only one limit is known here")
    widths = (modules.options.get(name) for name in ("channel_base", "channel_max"))
    base, most = (width if type(width) is int else None for width in widths)
    return Settings(clamp=clamps.pop() if clamps else 0.0, channel_base=base, channel_max=most)


def _options(kwargs: dict[Any, Any], found: Modules, depth: int = 0) -> None:
    """Parts what the network was made with into what is known here and what is not."""
    if depth > 1:
        raise ValueError("its options contain one another more deeply than those of any StyleGAN2")
    for name, value in kwargs.items():
        if name in _NESTED:
            _options(_dict(value, name), found, depth + 1)
        else:
            (found.options if name in _OPTIONS else found.unknown)[name] = value


class _Count:
    """How many entries there are in all the tables that were looked at; tables may be shared by many modules."""

    def __init__(self) -> None:
        self.entries = 0

    def table(self, value: Any, what: str) -> dict[Any, Any]:
        """A table, once it is counted."""
        self.entries += len(value) if isinstance(value, dict) else 0
        if self.entries > MOST_ENTRIES:
            raise ValueError(f"it has more than {MOST_ENTRIES:,} tensors and modules, and no StyleGAN2 has as many")
        return _dict(value, what)


def _walk(name: str, record: Persistent, count: _Count) -> Iterator[tuple[str, Persistent]]:
    waiting = [(name, record, 0)]
    for visited in range(MOST_MODULES + 1):
        if not waiting:
            return
        name, record, depth = waiting.pop()
        if depth > _DEEPEST or visited == MOST_MODULES:
            raise ValueError("its modules are more, or contain one another more deeply, than those of any StyleGAN2")
        yield name, record
        for own, module in count.table(record.state.get("_modules"), f"{name} _modules").items():
            if isinstance(module, Persistent):
                waiting.append((_below(name, own), module, depth + 1))
            elif module is not None:
                raise ValueError(
                    f"its module {shown(_below(name, own))} is {shown(module)}, which StyleGAN2 does not have"
                )


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


def _dict(value: Any, what: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, dict) and len(value) > MOST_ENTRIES:
        raise ValueError(f"its {shown(what.strip())} has {len(value):,} entries, and at most {MOST_ENTRIES:,} are read")
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"it is damaged (its {shown(what.strip())} is {shown(value)})")
    return value


def _below(name: str, own: str) -> str:
    if len(name) + len(own) > LONGEST_NAME:
        raise ValueError(f"it has names of more than {LONGEST_NAME:,} letters, which no StyleGAN2 has")
    return f"{name}.{own}" if name else own
