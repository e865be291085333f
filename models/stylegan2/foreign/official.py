"""Official pickles: those of StyleGAN2-ADA and of StyleGAN3's configuration `stylegan2`, and TensorFlow ones.

The PyTorch programs pickle a dict of G, D and G_ema, the TensorFlow ones a tuple of G, D and Gs. People also pickle one
network alone, lists, and files in which some are None: any of these is read, of whichever program.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.foreign import Converted
from models.stylegan2.foreign import modules, tensorflow
from models.stylegan2.foreign.architecture import Built
from models.stylegan2.foreign.converted import read_networks
from models.stylegan2.foreign.records import Persistent, TensorFlowNetwork, makers
from system.pickles import read_pickle
from system.text import shown
from system.windows import Window
from torch_utils.config import to_dict
from torch_utils.torchpickles import Budget

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
_NAMES = {"G": "G", "D": "D", "Gs": "G_ema", "G_ema": "G_ema"}  # in dicts
_MOST_IN_A_ROW = 16
_SNAPSHOT = re.compile(r"network-snapshot-(\d{6})\b")  # as official training names its files, by thousands of images

Network = Persistent | TensorFlowNetwork


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The value that an official pickle holds, while its file is open: arrays are read when they are needed.

    Raises:
        ValueError: if the file is too large or damaged, or asks for a name that no network needs.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and files of networks have at most {MOST_BYTES // 2**30}")
    with path.open("rb") as file:
        window = Window(file, 0, size)
        value = read_pickle(window, makers(size))
        if window.left:
            raise ValueError(f"it is damaged ({window.left:,} bytes follow the end of its pickle)")
        yield value


def claims(value: Any) -> bool:
    """True: no other program that is read here writes pickles."""
    return True


def from_official(value: Any, path: Path) -> Converted:
    """The networks of an official pickle under our names.

    Raises:
        ValueError: if it holds anything but networks that can be built here.
    """
    return _converted(_networks(value), path.stat().st_size, path.name)


def _networks(value: Any) -> dict[str, Any]:
    """What a pickle holds as G, D and G_ema."""
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


def _told_apart(values: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    """Networks in a row, by what they are. Of two generators the one called Gs, or the last, is the averaged one."""
    networks = [value for value in values[:_MOST_IN_A_ROW] if value is not None]
    if len(values) > _MOST_IN_A_ROW or not all(isinstance(network, Network) for network in networks):
        return {}
    judges = [network for network in networks if _is_discriminator(network)]
    generators = [network for network in networks if not _is_discriminator(network)]
    if len(judges) > 1 or len(generators) > 2:
        raise ValueError(f"it holds {len(judges)} discriminators and {len(generators)} generators in a row")
    generators.sort(key=lambda network: isinstance(network, TensorFlowNetwork) and network.name == "Gs")
    return dict(zip(("D",), judges, strict=False)) | dict(zip(("G_ema", "G"), reversed(generators), strict=False))


def _is_discriminator(network: Network) -> bool:
    if isinstance(network, TensorFlowNetwork):
        return tensorflow.is_discriminator(network)
    return "iscriminator" in network.class_name


def _converted(networks: dict[str, Network], size: int, file: str) -> Converted:
    budget = Budget(size, "its numbers take more bytes than the file, by being used many times")
    sources: list[str] = []
    kinds: list[str] = []

    def read_one(name: str) -> Built:
        network = networks[name]
        if isinstance(network, TensorFlowNetwork):
            built, found, kind = tensorflow.network(name, network, budget), network.sources, "TensorFlow pickle"
        else:
            taken = modules.take_apart(network)
            built = modules.discriminator(taken) if name == "D" else modules.generator(taken)
            later = any("fused_modconv_default" in fields for fields in taken.fields.values())
            found = taken.sources
            kind = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
        sources.extend(found)
        kinds.append(kind)
        numbers = sum(tensor.nbytes for tensor in built.tensors.values())
        if numbers > size:
            raise ValueError(
                f"its {name} has tensors of {numbers:,} bytes, more than the file, by using some many times"
            )
        return built

    parts, left_out = read_networks(list(networks), read_one)
    source = {"format": max(kinds), "source_sha256": list(dict.fromkeys(sources)), **left_out, "file": file}
    metadata: dict[str, Any] = {"source": source}
    for name, built in parts.items():
        metadata["discriminator" if name == "D" else "generator"] = to_dict(built.config)
    if found := _SNAPSHOT.search(file):
        metadata["kimg"] = float(found[1])
    tensors = {f"{part}.{name}": tensor for part, built in parts.items() for name, tensor in built.tensors.items()}
    return Converted("stylegan2", metadata, tensors)
