"""Official pickles: of StyleGAN2-ADA, of StyleGAN3's configuration `stylegan2`, and of the TensorFlow programs.

The PyTorch programs pickle a dict of G, D and G_ema, the TensorFlow programs a tuple of G, D and Gs. People also pickle
one network alone, lists, and files in which some networks are None. All of these are read.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

import torch

from models.foreign import Converted, Foreign
from models.stylegan2.foreign import architecture, tensorflow
from models.stylegan2.foreign import records as recorded
from system.pickles import is_pickle, read_pickle
from system.text import printable, shown
from torch_utils.torchfile import Budget

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
ARCHITECTURES = {"skip": "skip", "residual": "resnet", "plain": "orig"}  # ours -> the official name
_NAMES = {"G": "G", "D": "D", "Gs": "G_ema", "G_ema": "G_ema"}  # in dicts
_MOST_IN_A_ROW = 16
_USED = "its tensors take more bytes than the file, by using some many times"
_SNAPSHOT = re.compile(r"network-snapshot-(\d{6})\b")  # the file names of official training, in thousands of images
_OLDEST = 4  # version of the first StyleGAN2 in TensorFlow
_WHOLE_BATCH = 2**16  # a group as large as any batch
_CLAMPED = ("SynthesisLayer", "ToRGBLayer", "Conv2dLayer")
_NESTED = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs")

_IGNORED = {  # options that do not concern the function of a network, or are compared with its layers
    *("randomize_noise", "truncation_psi", "truncation_cutoff", "style_mixing_prob", "conditioning", "kernel_size"),
    *("z_dim", "w_dim", "num_ws", "num_layers", "mapping_layers", "mapping_fmaps", "cmap_dim", "conv_clamp"),
    *("channel_base", "channel_max", "fmap_base", "fmap_max", "embed_features", "layer_features", "mbstd_group_size"),
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


def read(path: Path) -> Any:
    """The value of an official pickle. Raises ValueError if it is too large, damaged, or asks for an unknown name."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and files of networks have at most {MOST_BYTES // 2**30}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        value = read_pickle(mapped, recorded.makers(size))
        if mapped.read(1):
            raise ValueError("it is damaged (bytes follow the end of its pickle)")
    return value


def from_official(value: Any, path: Path) -> Converted:
    """The networks of an official pickle under our names. Raises ValueError if they cannot be built here."""
    networks, size = _networks(value), path.stat().st_size
    source = {"format": "TensorFlow pickle", "file": path.name}

    def read_one(name: str) -> architecture.Built:
        tensors, records = recorded.take_apart(networks[name], Budget(size, _USED))
        if not networks[name].class_name:
            return _of_tensorflow(name, networks[name], tensors)
        later = any("fused_modconv_default" in record.state for record in records.values())
        source["format"] = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
        return _of_pytorch(name, tensors, records)

    found = architecture.converted(networks, read_one, source)
    if snapshot := _SNAPSHOT.search(path.name):
        found.metadata["kimg"] = float(snapshot[1])
    return found


OFFICIAL = Foreign("NVIDIA's StyleGAN2", is_pickle, read, lambda contents: True, from_official)


def _of_pytorch(
    name: str, tensors: Mapping[str, torch.Tensor], records: Mapping[str, recorded.Record]
) -> architecture.Built:
    options = flat(records[""].state.get("_init_kwargs"))
    clamps = {
        _positive("conv_clamp", record.state.get("conv_clamp"), int | float, 0)
        for path, record in records.items()
        if record.class_name in _CLAMPED and not path.endswith("skip")
    }
    if len(clamps) > 1:
        spelled = " and ".join(f"{value:g}" for value in sorted(clamps)[:2])
        raise ValueError(f"its layers have different limits (conv_clamp {spelled}), expected one limit")
    group = records["b4.mbstd"].state.get("group_size", 4) if "b4.mbstd" in records else 4
    base, most = options.get("channel_base"), options.get("channel_max")
    group = _positive("mbstd_group_size", group, int, _WHOLE_BATCH)
    network, own = architecture.build(name, tensors, clamp=sum(clamps), group=group, base=base, most=most)
    known = stated_by(name, network.config)
    check_options(name, options, known, network.config)
    expect(name, records[""].state, known)
    for path, record in records.items():
        if path:
            sizes = {"use_noise": True, "padding": 1} if record.class_name == "SynthesisLayer" else {}
            sizes |= {"num_channels": 1} if record.class_name == "MinibatchStdLayer" else {}
            expect(path, record.state, sizes or {"architecture": known["architecture"]})
    check_layers(network, records)
    return network, own


def _of_tensorflow(name: str, record: recorded.Record, variables: Mapping[str, Any]) -> architecture.Built:
    version = record.state.get("version")
    if type(version) is not int or version < _OLDEST:
        raise ValueError(
            f"its {name} is of version {shown(version)}, and those of StyleGAN2 begin with {_OLDEST}: "
            "networks of the first StyleGAN are not read"
        )
    options = flat(record.state.get("static_kwargs"))
    base, group = options.get("fmap_base"), options.get("mbstd_group_size", 4)
    base, most = base * 2 if type(base) is int else None, options.get("fmap_max")
    clamp = _positive("conv_clamp", options.get("conv_clamp"), int | float, 0)
    group, tensors = _positive("mbstd_group_size", group, int, _WHOLE_BATCH), tensorflow.tensors(name, variables)
    network, own = architecture.build(name, tensors, clamp=clamp, group=group, base=base, most=most)
    check_options(name, options, stated_by(name, network.config), network.config)
    return network, own


def _networks(value: Any) -> dict[str, recorded.Record]:
    """The value of a pickle as G, D and G_ema."""
    values = list(value[:_MOST_IN_A_ROW]) if isinstance(value, list | tuple) else [value]
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        found = {name: value[theirs] for theirs, name in _NAMES.items() if value.get(theirs) is not None}
    elif all(isinstance(network, recorded.Record | None) for network in values):
        found = _told_apart([network for network in values if network is not None])
    if not found or not all(isinstance(network, recorded.Record) for network in found.values()):
        raise ValueError(f"it holds {shown(value)}, expected the networks G, D and G_ema")
    return {name: found[name] for name in ("G", "D", "G_ema") if name in found}


def _told_apart(networks: list[recorded.Record]) -> dict[str, recorded.Record]:
    """Networks in a list by their kind. Of two generators the one called Gs, or the last, is the averaged one."""
    judges: list[recorded.Record] = []
    generators: list[recorded.Record] = []
    for network in networks:
        variables = recorded.pairs(network.state.get("variables"), "variables")
        judge = "iscriminator" in network.class_name or any(
            "FromRGB" in name[: recorded.LONGEST_NAME] for name, _ in variables
        )
        (judges if judge else generators).append(network)
    if len(judges) > 1 or len(generators) > 2:
        raise ValueError(f"it holds a list of {len(judges)} discriminators and {len(generators)} generators")
    generators.sort(key=lambda network: network.state.get("name") == "Gs")
    return dict(zip(("D",), judges, strict=False)) | dict(zip(("G_ema", "G"), reversed(generators), strict=False))


def flat(kwargs: Any, levels: int = 3) -> dict[str, Any]:
    """The arguments of a network's constructor, with those of nested tables."""
    options: dict[str, Any] = {}
    for name, value in recorded.pairs(kwargs, "the options"):
        options |= {name: value} if name not in _NESTED else flat(value, levels - 1) if levels else {}
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
    for option in sorted(options.keys() - known.keys() - _IGNORED):
        value, words = options[option], option[:100].lower()
        usual = [usual for pattern, usual in _USUAL.items() if re.fullmatch(pattern, words)]
        empty = isinstance(value, bool | int | float | str | bytes | list | tuple | dict | None) and not value
        is_size = _SIZE.fullmatch(words) and type(value) is int and value in sizes
        if usual:
            expect(name, options, {option: usual[0]})
        elif not (empty or is_size or _IDLE.fullmatch(words)):
            raise ValueError(f"its network was made with the option {shown(option)}, which StyleGAN2 does not have")


def check_layers(network: torch.nn.Module, records: Mapping[str, recorded.Record]) -> None:
    """Check that the layers state the activations and gains of ours."""
    for theirs, ours in architecture.official_names(network).items():
        layer, _, kind = theirs.rpartition(".")
        if kind == "weight" and layer in records:
            module = network.get_submodule(ours.rpartition(".")[0])
            known: dict[str, Any] = {gain: getattr(module, gain, None) for gain in ("weight_gain", "bias_gain")}
            styled = re.fullmatch(r"synthesis\.b\d+\.conv[01]", layer)
            known["activation"] = "lrelu" if styled else getattr(module, "act", None)
            expect(layer, records[layer].state, known)


def expect(what: str, said: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Check that a file states the known values. Values that are not stated, or not known (None), are not checked."""
    for name, value in known.items():
        if value is not None and said.get(name) is not None and not _is_same(said[name], value):
            value = float(f"{value:.6g}") if isinstance(value, float) else value
            name = printable(name, 80)
            raise ValueError(f"its {what} has the {name} {shown(said[name])}, expected {shown(value)}")


def _positive(what: str, value: Any, kind: Any, none: Any) -> Any:
    """A number that a file states; `none` for None."""
    if value is None:
        return none
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < 1e30:
        raise ValueError(f"it is damaged (its {what} is {shown(value)})")
    return value


def _is_same(value: Any, known: Any) -> bool:
    """Whether a value from a file equals a known one: a number (rounding aside), a text, or a list of numbers."""
    if isinstance(known, list):
        return isinstance(value, list) and len(value) == len(known) and all(map(_is_same, value, known))
    if isinstance(known, bool | str) or isinstance(value, bool | str):
        return type(value) is type(known) and value == known
    return isinstance(value, int | float) and abs(value) < 1e30 and isclose(value, known, rel_tol=1e-5)
