"""Official pickles: of StyleGAN2-ADA, of StyleGAN3's configuration `stylegan2`, and of the TensorFlow programs.

The PyTorch programs pickle a dict of G, D and G_ema, the TensorFlow programs a tuple of G, D and Gs. People also pickle
one network alone, lists, and files in which some networks are None. All of these are read.
"""

import mmap
import re
from pathlib import Path
from typing import Any

from models.foreign import Converted
from models.stylegan2.foreign import modules, tensorflow
from models.stylegan2.foreign.architecture import BuiltNetwork, converted
from models.stylegan2.foreign.records import Persistent, TensorFlowNetwork, makers
from system.pickles import read_pickle
from system.text import shown
from torch_utils.torchpickles import Budget

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
_NAMES = {"G": "G", "D": "D", "Gs": "G_ema", "G_ema": "G_ema"}  # in dicts
_MOST_IN_A_ROW = 16
_USED = "its tensors take more bytes than the file, by using some many times"
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


def from_official(value: Any, path: Path) -> Converted:
    """The networks of an official pickle under our names.

    Raises:
        ValueError: if it holds anything but networks that can be built here.
    """
    networks, size = _networks(value), path.stat().st_size
    source = {"format": "TensorFlow pickle", "file": path.name}

    def read_one(name: str) -> BuiltNetwork:
        network = networks[name]
        if isinstance(network, TensorFlowNetwork):
            return tensorflow.network(name, network, Budget(size, _USED))
        taken = modules.take_apart(network)
        Budget(size, _USED).spend(sum(tensor.nbytes for tensor in taken.tensors.values()))
        later = any("fused_modconv_default" in fields for fields in taken.fields.values())
        source["format"] = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
        return modules.network(name, taken)

    found = converted(networks, read_one, source)
    if snapshot := _SNAPSHOT.search(path.name):
        found.metadata["kimg"] = float(snapshot[1])
    return found


def _networks(value: Any) -> dict[str, Network]:
    """The value of a pickle as G, D and G_ema."""
    values = list(value[:_MOST_IN_A_ROW]) if isinstance(value, list | tuple) else [value]
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        found = {name: value[theirs] for theirs, name in _NAMES.items() if value.get(theirs) is not None}
    elif all(isinstance(network, Network | None) for network in values):
        found = _told_apart([network for network in values if network is not None])
    if not found or not all(isinstance(network, Network) for network in found.values()):
        raise ValueError(f"it holds {shown(value)}, expected the networks G, D and G_ema")
    return {name: found[name] for name in ("G", "D", "G_ema") if name in found}


def _told_apart(networks: list[Network]) -> dict[str, Network]:
    """Networks in a list by their kind. Of two generators the one called Gs, or the last, is the averaged one."""
    judges = [network for network in networks if _is_discriminator(network)]
    generators = [network for network in networks if not _is_discriminator(network)]
    if len(judges) > 1 or len(generators) > 2:
        raise ValueError(f"it holds a list of {len(judges)} discriminators and {len(generators)} generators")
    generators.sort(key=lambda network: network.state.get("name") == "Gs")
    return dict(zip(("D",), judges, strict=False)) | dict(zip(("G_ema", "G"), reversed(generators), strict=False))


def _is_discriminator(network: Network) -> bool:
    if isinstance(network, TensorFlowNetwork):
        return tensorflow.is_discriminator(network)
    return "iscriminator" in network.class_name
