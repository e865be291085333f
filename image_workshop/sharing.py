"""Networks taken from files and the Hugging Face Hub, and put there: safetensors, and nothing in them is executed."""

import copy
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.families import FAMILIES, NetworkFile, load_network, read_network
from models.family import Family
from models.foreign import Job
from models.places import CARD
from sampling import formats
from sampling.classes import class_names as names_in
from system.text import printable
from torch_utils import config

Source = nn.Module | NetworkFile | str | Path

from_pretrained = load_network


def list_networks(pattern: str = "*") -> list[str]:
    """The names of published networks that match a pattern such as `ffhq*`; each is a place for `from_pretrained`."""
    names = (name for family in FAMILIES.values() for name in family.published)
    return sorted(name for name in names if fnmatch(name.lower(), pattern.lower()))


def save_pretrained(source: Source, folder: str | Path, license: str = "", class_names: Sequence[str] = ()) -> Path:
    """Write a folder as the Hugging Face Hub shows it: the network, its configuration, a model card and samples.

    Args:
        source: a network, or the place of a network file, all parts of which are written.
        folder: a new or empty folder, or one that this function wrote; a model card in it stays.
        license: for the model card: an identifier of the Hub such as `mit`.
        class_names: of a network with classes; a place brings its own.

    Returns:
        The folder, which is a place for `from_pretrained`.

    Raises:
        FileNotFoundError or ValueError: the source cannot be read, or the folder holds other things.
    """
    dest = Path(folder)
    family, job = _job(source, dest, class_names)
    form = formats.find_format(dest, "hub", [family])
    form.check(dest)
    dest.mkdir(parents=True, exist_ok=True)
    form.write(job._replace(options=config.build(form.options, {"license": license})))
    return dest


def push_to_hub(
    source: Source, name: str, license: str = "", class_names: Sequence[str] = (), private: bool = False
) -> str:
    """Upload what `save_pretrained` writes to the repository USER/NAME of the Hub, which is made if it is missing.

    A model card that is there stays. Needs huggingface_hub, and a login by `hf auth login`. `private` is for a new
    repository; the other arguments are those of `save_pretrained`.

    Returns:
        `hf://USER/NAME`, a place for `from_pretrained`.

    Raises:
        ValueError: the package is missing, or the Hub refuses; or as `save_pretrained`.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ValueError("push_to_hub needs a package: pip install huggingface_hub") from error
    with tempfile.TemporaryDirectory() as place:
        folder = save_pretrained(source, Path(place) / name.rpartition("/")[2], license, class_names)
        try:
            api = HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            kept = [CARD] if api.file_exists(name, CARD) else []
            api.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=kept)
        except Exception as error:  # of the connection, the Hub and its package, which share no base class
            told = printable((str(error).strip() or type(error).__name__).splitlines()[0])
            raise ValueError(f"cannot upload to {name} ({told}): check the name and `hf auth login`") from error
    return f"hf://{name}"


def _job(source: Source, dest: Path, class_names: Sequence[str]) -> tuple[Family, Job]:
    """What is to be written, and its family."""
    if isinstance(source, nn.Module):
        family, part = _row(source)
        network: Any = copy.deepcopy(source).cpu()
        classes = family.shape(network.config).classes
        if class_names and len(class_names) != classes:
            raise ValueError(f"{len(class_names)} class_names for a network with {classes} classes: give one for each")
        metadata: dict[str, Any] = {"family": family.name, "data": {"class_names": list(class_names)}}
        tensors = {f"{part}.{key}": tensor for key, tensor in network.state_dict().items()}
        names = names_in(metadata, classes)
        return family, Job(dest.name, metadata, tensors, names, {part: network}, dest, None)
    file = source if isinstance(source, NetworkFile) else read_network(source)
    if class_names:
        raise ValueError(f"class_names do not apply to {file}, which states its own: leave them out")
    networks: dict[str, Any] = {name: file.part(name) for name in file.parts}
    names = names_in(file.metadata, file.family.shape(next(iter(networks.values())).config).classes)
    return file.family, Job(file.place or file.path.name, file.metadata, file.tensors, names, networks, dest, None)


def _row(network: nn.Module) -> tuple[Family, str]:
    """The family of a network, and the part that it is."""
    for family in FAMILIES.values():
        for name in [*family.shown, *family.parts]:
            part = family.parts[name]
            if isinstance(settings := getattr(network, "config", None), part.config):
                with torch.device("meta"):
                    built = part.build(settings)
                if type(built) is type(network):
                    return family, name
    raise ValueError(f"a {type(network).__name__} is no network of this package: take one of from_pretrained")
