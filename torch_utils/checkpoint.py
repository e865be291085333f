"""Checkpoints: tensors and metadata in one safetensors file that is whole, checked, and cannot run code.

`pack` and `unpack` turn the nested states of modules and optimisers into such a file's parts and back, exactly.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from system.files import in_utf8, replacing
from system.text import printable

Tensors = dict[str, torch.Tensor]


class DamagedError(ValueError):
    """A file that is there, but is not a whole checkpoint."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why}): use an older file, or make it anew")
        self.path, self.why = path, why


class ForeignError(DamagedError):
    """A safetensors file of another program."""


class Loaded(NamedTuple):
    """What `load_newest` found."""

    tensors: Tensors
    metadata: dict[str, Any]
    path: Path  # the file it was taken from
    note: str  # "" or one sentence that says why it is not the newest


def save(
    path: Path | str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any], previous: Path | None = None
) -> None:
    """Writes a checkpoint so that `path` is at every moment a whole file; the old one is kept as `previous`, if given.

    `tensors` may be of any device, dtype and layout, and may share memory. `metadata` is anything JSON can say.
    A digest (SHA-256) of both is stored with them. Raises OSError when the file cannot be written, the disk full for
    example; then the files that were there are untouched, and nothing is left behind.
    """
    path = Path(path)
    whole = _contiguous(tensors)
    text = json.dumps(dict(metadata))
    with replacing(path, previous) as temporary:
        temporary.touch()
        usual = temporary.stat().st_mode
        try:
            save_file(whole, temporary, {"metadata": text, "sha256": _digest(whole, text)})
        except SafetensorError as error:
            raise _os_error(error, path) from error
        _order_header(temporary)
        temporary.chmod(usual)  # safetensors makes files that their owner alone may read


def load(path: Path | str, check: bool = True) -> tuple[Tensors, dict[str, Any]]:
    """The tensors, on the CPU, and the metadata of a checkpoint.

    `check=False` spares the digest (some seconds on a large file) and takes any safetensors file, metadata or none.
    Raises FileNotFoundError when there is no such file, and DamagedError (a ValueError) when it is no whole checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        problem = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise FileNotFoundError(f"{problem}: give the path of a .safetensors file")
    try:
        with in_utf8(path) as name, safe_open(name, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = dict(json.loads(header.get("metadata", "{}")))
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged header leads to
        raise DamagedError(path, "it is cut short, or not a safetensors file") from error
    if check and "sha256" not in header:
        raise ForeignError(path, "it carries no digest, so it was not written by this project, or was altered")
    if check and header["sha256"] != _digest(tensors, header.get("metadata", "")):
        raise DamagedError(path, "its contents do not match its digest")
    return tensors, metadata


def header(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint, from its header alone, unchecked; {} if the file cannot be read."""
    try:
        with in_utf8(path) as name, safe_open(name, framework="pt") as file:
            return dict(json.loads((file.metadata() or {}).get("metadata", "{}")))
    except Exception:  # whatever a damaged header leads to; whoever loads the file reports it
        return {}


def digest(path: Path) -> str:
    """The digest that a checkpoint carries, in 64 hexadecimal digits."""
    with in_utf8(path) as name, safe_open(name, framework="pt") as file:
        return str(file.metadata()["sha256"])


def load_newest(path: Path, previous: Path) -> Loaded:
    """Loads `path`, or `previous` when `path` is damaged or missing, and says which.

    Raises FileNotFoundError when neither is there, and ValueError when there is none that is whole.
    """
    if not path.is_file() and not previous.is_file():
        raise FileNotFoundError(
            f"there is neither {path} nor {previous.name} beside it: there is nothing to go on from"
        )
    try:
        return Loaded(*load(path), path, "")
    except FileNotFoundError:
        trouble = f"{path} is missing"
    except DamagedError as error:
        trouble = f"{path} is damaged ({error.why})"
        if not previous.is_file():
            raise
    try:
        return Loaded(*load(previous), previous, f"{trouble}: took {previous.name} instead")
    except DamagedError as error:
        raise ValueError(
            f"{trouble}, and {previous.name} is damaged ({error.why}): start anew, or from a network file"
        ) from error


def pack(tree: Any) -> tuple[Tensors, Any]:
    """Parts a nest of dicts, lists and tuples into flat tensors and a skeleton that JSON can say.

    Leaves are tensors, numbers, truth values, texts and None; keys of dicts are texts, or whole numbers as in the
    state of an optimiser. `unpack` gives the same nest back exactly. Raises TypeError for anything else.
    """
    tensors: Tensors = {}
    return tensors, _skeleton(tree, "", tensors)


def unpack(tensors: Mapping[str, torch.Tensor], skeleton: Any) -> Any:
    """Puts the nest together again that `pack` parted.

    Raises ValueError when the skeleton is not one that `pack` makes, or names a tensor that is missing, and
    RecursionError when it is nested deeper than Python can follow.
    """
    if isinstance(skeleton, list):
        return [unpack(tensors, node) for node in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    match skeleton:
        case {"tensor": str(name)} if len(skeleton) == 1 and name in tensors:
            return tensors[name]
        case {"tuple": list(nodes)} if len(skeleton) == 1:
            return tuple(unpack(tensors, node) for node in nodes)
        case {"dict": list(entries)} if len(skeleton) == 1 and all(map(_is_entry, entries)):
            return {key: unpack(tensors, node) for key, node in entries}
    raise ValueError("its tree of names is not one that this program writes, or names a tensor that is missing")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and type(entry[0]) in (str, int)


def check_keys(found: Any, expected: Collection[str | int], name: str) -> None:
    """Makes sure that a value out of a file is a dict of just these keys; ValueError calls it `name`."""
    if not isinstance(found, dict):
        raise ValueError(f"{name} is {printable(found, 40)}, expected a group of {len(expected)} values")
    missing, unknown = [key for key in expected if key not in found], [key for key in found if key not in expected]
    if missing:
        raise ValueError(f"{name} lacks {printable(str(sorted(missing, key=str)[0]), 80)}")
    if unknown:
        raise ValueError(f"{name} has the unknown key {printable(str(unknown[0]), 80)}")


def check_alike(found: Any, model: Any, name: str) -> None:
    """Makes sure that a nest out of a file has the keys of a model and, for each tensor, its shape and dtype.

    Args:
        found: what was read.
        model: dicts and tensors, which may be of the meta device.
        name: of the nest, for ValueError.
    """
    if isinstance(model, torch.Tensor):
        if not isinstance(found, torch.Tensor):
            raise ValueError(f"{name} is {printable(found, 40)}, expected a tensor")
        if found.shape != model.shape or found.dtype != model.dtype:
            kinds = [f"{str(t.dtype).removeprefix('torch.')} of shape {list(t.shape)}" for t in (found, model)]
            raise ValueError(f"{name} is {kinds[0]}, expected {kinds[1]}")
        return
    check_keys(found, model, name)
    for key, inner in model.items():
        check_alike(found[key], inner, f"{name}.{key}")


def _skeleton(tree: Any, name: str, tensors: Tensors) -> Any:
    """Lists and plain values stand for themselves; every JSON object has one key, which says what it stands for."""
    if isinstance(tree, torch.Tensor):
        name = _unused(name or "tensor", tensors)
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, Mapping):
        for key in tree:
            if type(key) not in (str, int):
                raise TypeError(f"a key of a state is a text or a whole number, got {key!r} in {name or 'its root'}")
        return {"dict": [[key, _skeleton(node, _below(name, key), tensors)] for key, node in tree.items()]}
    if isinstance(tree, list | tuple):
        nodes = [_skeleton(node, _below(name, index), tensors) for index, node in enumerate(tree)]
        return nodes if isinstance(tree, list) else {"tuple": nodes}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a state is made of tensors, numbers, texts and None, got {type(tree).__name__} in {name}")


def _below(name: str, key: str | int) -> str:
    return f"{name}.{key}" if name else str(key)


def _unused(name: str, tensors: Tensors) -> str:
    while name in tensors or name == "__metadata__":  # {"a.b": x, "a": {"b": y}}; and a name the format keeps
        name += "'"
    return name


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors on the CPU, each dense and with memory of its own, as the format wants them."""
    seen: set[int] = set()
    whole = {}
    for name, tensor in tensors.items():
        dense = tensor.detach().to("cpu").contiguous()
        if dense.untyped_storage().data_ptr() in seen:
            dense = dense.clone()
        seen.add(dense.untyped_storage().data_ptr())
        whole[name] = dense
    return whole


def _order_header(path: Path) -> None:
    """Brings the metadata in a file's header, which safetensors writes in any order, into that of its names.

    So equal contents are equal files. A header whose length would change by it stays as it is.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) == length:
            file.seek(8)
            file.write(ordered)


def _digest(tensors: Tensors, text: str) -> str:
    """SHA-256 over the metadata's text and over every tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        for part in _bytes(tensor):
            sha.update(part)
    return sha.hexdigest()


def _bytes(tensor: torch.Tensor) -> Iterator[memoryview]:
    if tensor.numel():
        yield tensor.reshape(-1).view(torch.uint8).numpy().data


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """The library reports a failed write as its own error; the number of the cause stands only in its text."""
    found = re.search(r"os error (\d+)", str(error))
    if found is None:
        return OSError(f"cannot write {path}: {error}")
    number = int(found[1])
    return OSError(number, os.strerror(number), str(path))
