"""Official pickles: those of StyleGAN2-ADA and of StyleGAN3's configuration `stylegan2`, and TensorFlow ones."""

import io
import re
from pathlib import Path
from typing import Any

from models.stylegan2.foreign import modules, tensorflow
from models.stylegan2.foreign.architecture import Built
from models.stylegan2.foreign.converted import Converted, read_networks
from models.stylegan2.foreign.pickles import read_pickle, shown
from models.stylegan2.foreign.records import Persistent, makers
from torch_utils.config import to_dict

MOST_BYTES = 4 * 2**30  # the largest official file has 0.4
_NETWORKS = ("G", "D", "G_ema")
_SNAPSHOT = re.compile(r"network-snapshot-(\d{6})\b")  # as official training names its files, by thousands of images


def read(path: Path) -> Converted:
    """Networks of an official pickle.

    Raises:
        ValueError: with the reason, when the file is damaged or too large, asks for what no network needs, or holds
            something else than networks that can be built here.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and files of networks have at most {MOST_BYTES // 2**30}")
    stream = io.BytesIO(path.read_bytes())
    value = read_pickle(stream, makers(size))
    if left := size - stream.tell():
        raise ValueError(f"it is damaged ({left:,} bytes follow the end of its pickle)")
    if isinstance(value, tuple):
        parts, left_out = tensorflow.networks(value)
        source = {"format": "TensorFlow pickle", "source_sha256": tensorflow.sources(value)}
    else:
        parts, left_out, source = _modules(value)
    for part, built in parts.items():
        taken = sum(tensor.nbytes for tensor in built.tensors.values())
        if taken > size:
            raise ValueError(f"its {part} has tensors of {taken:,} bytes, more than the file, by using some many times")
    return _converted(parts, source | left_out | {"file": path.name})


def _modules(value: Any) -> tuple[dict[str, Built], dict[str, Any], dict[str, Any]]:
    """The networks of a PyTorch file, what is left out, what the file is, and the SHA-256 of the sources in it."""
    records = {"G_ema": value} if isinstance(value, Persistent) else value
    if not isinstance(records, dict) or not any(isinstance(records.get(name), Persistent) for name in _NETWORKS):
        raise ValueError(f"it holds {shown(value)} without any of the networks G, D and G_ema")
    taken: list[modules.Modules] = []

    def read_one(name: str) -> Built:
        if not isinstance(records[name], Persistent):
            raise ValueError(f"its {name} is {shown(records[name])} and no network")
        taken.append(modules.take_apart(records[name]))
        return modules.discriminator(taken[-1]) if name == "D" else modules.generator(taken[-1])

    parts, left_out = read_networks([name for name in _NETWORKS if records.get(name) is not None], read_one)
    later = any("fused_modconv_default" in fields for found in taken for fields in found.fields.values())
    kind = "StyleGAN3 pickle, configuration stylegan2" if later else "StyleGAN2-ADA pickle"
    sources = list(dict.fromkeys(source for found in taken for source in found.sources))
    return parts, left_out, {"format": kind, "source_sha256": sources}


def _converted(parts: dict[str, Built], source: dict[str, Any]) -> Converted:
    metadata: dict[str, Any] = {"source": source}
    for name, built in parts.items():
        metadata["discriminator" if name == "D" else "generator"] = to_dict(built.config)
    if found := _SNAPSHOT.search(source["file"]):
        metadata["kimg"] = float(found[1])
    tensors = {f"{part}.{name}": tensor for part, built in parts.items() for name, tensor in built.tensors.items()}
    return Converted(metadata, tensors)
