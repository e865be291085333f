"""Official pickles: of StyleGAN2-ADA, of StyleGAN3's configuration `stylegan2`, and of the TensorFlow programs.

The PyTorch programs pickle a dict of G, D and G_ema, the TensorFlow programs a tuple of G, D and Gs. People also pickle
one network alone, lists, and files in which some networks are None. All of these are read.
"""

import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from models.foreign import Converted, Foreign
from models.stylegan2.foreign import tensorflow
from models.stylegan2.foreign.architecture import Built, build, converted
from models.stylegan2.foreign.records import Array, Record, demand, makers
from models.stylegan2.foreign.statements import (
    check_layers,
    check_options,
    clamp_of,
    expect,
    flat,
    group_of,
    pairs,
    stated_by,
)
from system.pickles import is_pickle, read_pickle
from system.text import shown
from torch_utils.torchfile import Budget

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
MOST_ENTRIES = 20_000  # of all tables of tensors and modules together; the largest official network has 1,000
LONGEST_NAME = 200  # with those of the modules around it, which limits the depth
_NAMES = {"G": "G", "D": "D", "Gs": "G_ema", "G_ema": "G_ema"}  # in dicts
_MOST_IN_A_ROW = 16
_USED = "its tensors take more bytes than the file, by using some many times"
_SNAPSHOT = re.compile(r"network-snapshot-(\d{6})\b")  # the file names of official training, in thousands of images
_OLDEST = 4  # version of the first StyleGAN2 in TensorFlow

_CLASSES = {
    *("Generator", "MappingNetwork", "SynthesisNetwork", "SynthesisBlock", "SynthesisLayer", "ToRGBLayer"),
    *("Discriminator", "DiscriminatorBlock", "DiscriminatorEpilogue", "MinibatchStdLayer"),
    *("Conv2dLayer", "FullyConnectedLayer", ""),
}
_TABLES = ("_parameters", "_buffers", "_modules", "variables", "components")  # frozen weights are buffers
_CLAMPED = ("SynthesisLayer", "ToRGBLayer", "Conv2dLayer")


def read(path: Path) -> Any:
    """The value that an official pickle holds.

    Raises:
        ValueError: if the file is too large or damaged, or asks for a name that no network needs.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and files of networks have at most {MOST_BYTES // 2**30}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        value = read_pickle(mapped, makers(size))
        if mapped.read(1):
            raise ValueError("it is damaged (bytes follow the end of its pickle)")
    return value


def from_official(value: Any, path: Path) -> Converted:
    """The networks of an official pickle under our names.

    Raises:
        ValueError: if it holds anything but networks that can be built here.
    """
    networks, size = _networks(value), path.stat().st_size
    source = {"format": "TensorFlow pickle", "file": path.name}

    def read_one(name: str) -> Built:
        tensors, records = take_apart(networks[name], Budget(size, _USED))
        if not networks[name].class_name:
            return _of_tensorflow(name, networks[name], tensors)
        later = any("fused_modconv_default" in record.state for record in records.values())
        source["format"] = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
        return _of_pytorch(name, tensors, records)

    found = converted(networks, read_one, source)
    if snapshot := _SNAPSHOT.search(path.name):
        found.metadata["kimg"] = float(snapshot[1])
    return found


OFFICIAL = Foreign("NVIDIA's StyleGAN2", is_pickle, read, lambda contents: True, from_official)


def take_apart(network: Record, budget: Budget) -> tuple[dict[str, Any], dict[str, Record]]:
    """The tensors or arrays of a network, and all networks and modules in it, by their names; the network's is "".

    Raises:
        ValueError: for modules of other networks, by their names, and for more entries or bytes than allowed.
    """
    tensors: dict[str, Any] = {}
    records, waiting, entries = {"": network}, [""], 0
    separator, kind = (".", Tensor) if network.class_name else ("/", Array | float)
    for path in waiting:
        _check_class(path, records[path].class_name)
        for table in _TABLES:
            for own, value in pairs(records[path].state.get(table), table, MOST_ENTRIES):
                name, entries = f"{path}{separator}{own}" if path else own, entries + 1
                if entries > MOST_ENTRIES or len(name) > LONGEST_NAME:
                    raise ValueError("it has more tensors and modules, or longer names, than any StyleGAN2")
                demand(name not in tensors and name not in records, "a name has two values", name)
                if isinstance(value, Record) and bool(value.class_name) == bool(network.class_name):
                    records[name] = value
                    waiting.append(name)
                elif value is not None:
                    demand(isinstance(value, kind), name, value)
                    tensors[name] = value
                    budget.spend(value.nbytes if isinstance(value, Tensor) else 4 * tensorflow.numbers(value).size)
    return tensors, records


def _of_pytorch(name: str, tensors: Mapping[str, Tensor], records: Mapping[str, Record]) -> Built:
    options = flat(records[""].state.get("_init_kwargs"), MOST_ENTRIES)
    clamps = {
        clamp_of(record.state.get("conv_clamp"))
        for path, record in records.items()
        if record.class_name in _CLAMPED and not path.endswith("skip")
    }
    if len(clamps) > 1:
        spelled = " and ".join(f"{value:g}" for value in sorted(clamps)[:2])
        raise ValueError(f"its layers have different limits (conv_clamp {spelled}), expected one limit")
    group = group_of(records["b4.mbstd"].state.get("group_size", 4) if "b4.mbstd" in records else 4)
    widths = {"base": options.get("channel_base"), "most": options.get("channel_max")}
    network, own = build(name, tensors, clamp=sum(clamps), group=group, **widths)
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


def _of_tensorflow(name: str, record: Record, variables: Mapping[str, Any]) -> Built:
    version = record.state.get("version")
    if type(version) is not int or version < _OLDEST:
        raise ValueError(
            f"its {name} is of version {shown(version)}, and those of StyleGAN2 begin with {_OLDEST}: "
            "networks of the first StyleGAN are not read"
        )
    options = flat(record.state.get("static_kwargs"), MOST_ENTRIES)
    base, group = options.get("fmap_base"), group_of(options.get("mbstd_group_size", 4))
    widths = {"base": base * 2 if type(base) is int else None, "most": options.get("fmap_max")}
    clamp, tensors = clamp_of(options.get("conv_clamp")), tensorflow.tensors(name, variables)
    network, own = build(name, tensors, clamp=clamp, group=group, **widths)
    check_options(name, options, stated_by(name, network.config), network.config)
    return network, own


def _networks(value: Any) -> dict[str, Record]:
    """The value of a pickle as G, D and G_ema."""
    values = list(value[:_MOST_IN_A_ROW]) if isinstance(value, list | tuple) else [value]
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        found = {name: value[theirs] for theirs, name in _NAMES.items() if value.get(theirs) is not None}
    elif all(isinstance(network, Record | None) for network in values):
        found = _told_apart([network for network in values if network is not None])
    if not found or not all(isinstance(network, Record) for network in found.values()):
        raise ValueError(f"it holds {shown(value)}, expected the networks G, D and G_ema")
    return {name: found[name] for name in ("G", "D", "G_ema") if name in found}


def _told_apart(networks: list[Record]) -> dict[str, Record]:
    """Networks in a list by their kind. Of two generators the one called Gs, or the last, is the averaged one."""
    judges = [network for network in networks if _is_discriminator(network)]
    generators = [network for network in networks if not _is_discriminator(network)]
    if len(judges) > 1 or len(generators) > 2:
        raise ValueError(f"it holds a list of {len(judges)} discriminators and {len(generators)} generators")
    generators.sort(key=lambda network: network.state.get("name") == "Gs")
    return dict(zip(("D",), judges, strict=False)) | dict(zip(("G_ema", "G"), reversed(generators), strict=False))


def _is_discriminator(network: Record) -> bool:
    variables = pairs(network.state.get("variables"), "variables", MOST_ENTRIES)
    return "iscriminator" in network.class_name or any("FromRGB" in name[:LONGEST_NAME] for name, _ in variables)


def _check_class(path: str, kind: str) -> None:
    if kind == "SynthesisInput":
        raise ValueError(
            "it is a StyleGAN3 network of another configuration: only StyleGAN3 networks of the configuration "
            "stylegan2 can be read here"
        )
    if kind not in _CLASSES:
        what = f"its module {shown(path)}" if path else "its network"
        raise ValueError(f"{what} is of the class {shown(kind)}, which StyleGAN2 does not have")
