"""Official pickles: of StyleGAN2-ADA, of StyleGAN3's configuration `stylegan2`, and of the TensorFlow programs.

The PyTorch programs pickle a dict of G, D and G_ema, the TensorFlow programs a tuple of G, D and Gs. People also pickle
one network alone, lists, and files in which some networks are None. All of these are read.
"""

import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.foreign import Converted
from models.stylegan2.foreign import modules, tensorflow
from models.stylegan2.foreign.architecture import Built, read_networks
from models.stylegan2.foreign.records import Persistent, TensorFlowNetwork, makers
from system.pickles import read_pickle
from system.text import shown
from torch_utils.config import to_dict
from torch_utils.torchpickles import Budget

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
_NAMES = {"G": "G", "D": "D", "Gs": "G_ema", "G_ema": "G_ema"}  # in dicts
_MOST_IN_A_ROW = 16
_SNAPSHOT = re.compile(r"network-snapshot-(\d{6})\b")  # the file names of official training, in thousands of images

Network = Persistent | TensorFlowNetwork


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


def claims(value: Any) -> bool:
    """True: no other program that is read here writes pickles."""
    return True


def from_official(value: Any, path: Path) -> Converted:
    """The networks of an official pickle under our names.

    Raises:
        ValueError: if it holds anything but networks that can be built here.
    """
    networks, size = _networks(value), path.stat().st_size
    budget = Budget(size, "its numbers take more bytes than the file, by being used many times")
    facts: list[tuple[str, list[str]]] = []  # format and digests of the sources of each network

    def read_one(name: str) -> Built:
        network = networks[name]
        if isinstance(network, TensorFlowNetwork):
            built = tensorflow.network(name, network, budget)
            facts.append(("TensorFlow pickle", network.sources))
        else:
            taken = modules.take_apart(network)
            built = modules.network(name, taken)
            later = any("fused_modconv_default" in fields for fields in taken.fields.values())
            kind = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
            facts.append((kind, taken.sources))
        numbers = sum(tensor.nbytes for tensor in built.tensors.values())
        if numbers > size:
            raise ValueError(
                f"its {name} has tensors of {numbers:,} bytes, more than the file, by using some many times"
            )
        return built

    parts, left_out = read_networks(list(networks), read_one)
    digests = dict.fromkeys(digest for _, sources in facts for digest in sources)
    source = {"format": max(facts)[0], "source_sha256": list(digests), **left_out, "file": path.name}
    metadata: dict[str, Any] = {"source": source}
    for name, built in parts.items():
        metadata["discriminator" if name == "D" else "generator"] = to_dict(built.config)
    if found := _SNAPSHOT.search(path.name):
        metadata["kimg"] = float(found[1])
    tensors = {f"{part}.{name}": tensor for part, built in parts.items() for name, tensor in built.tensors.items()}
    return Converted("stylegan2", metadata, tensors)


def _networks(value: Any) -> dict[str, Network]:
    """The value of a pickle as G, D and G_ema."""
    if isinstance(value, Network):
        value = [value]
    if isinstance(value, dict):
        found = {name: value[theirs] for theirs, name in _NAMES.items() if value.get(theirs) is not None}
    else:
        found = _told_apart(value) if isinstance(value, list | tuple) else {}
    if not any(isinstance(network, Network) for network in found.values()):
        raise ValueError(f"it holds {shown(value)} without any of the networks G, D and G_ema")
    for name, network in found.items():
        if not isinstance(network, Network):
            raise ValueError(f"its {name} is {shown(network)} and no network")
    return {name: found[name] for name in ("G", "D", "G_ema") if name in found}


def _told_apart(values: Sequence[Any]) -> dict[str, Any]:
    """Networks in a list by their kind. Of two generators the one called Gs, or the last, is the averaged one."""
    networks = [value for value in values[:_MOST_IN_A_ROW] if value is not None]
    if len(values) > _MOST_IN_A_ROW or not all(isinstance(network, Network) for network in networks):
        return {}
    judges = [network for network in networks if _is_discriminator(network)]
    generators = [network for network in networks if not _is_discriminator(network)]
    if len(judges) > 1 or len(generators) > 2:
        raise ValueError(f"it holds a list of {len(judges)} discriminators and {len(generators)} generators")
    generators.sort(key=lambda network: isinstance(network, TensorFlowNetwork) and network.name == "Gs")
    return dict(zip(("D",), judges, strict=False)) | dict(zip(("G_ema", "G"), reversed(generators), strict=False))


def _is_discriminator(network: Network) -> bool:
    if isinstance(network, TensorFlowNetwork):
        return tensorflow.is_discriminator(network)
    return "iscriminator" in network.class_name
