"""Checkpoints: safetensors files with metadata and a digest; states of modules and optimizers as tensors and JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from system.files import replacing
from system.text import printable

Tensors = dict[str, "torch.Tensor"]


class DamagedError(ValueError):
    """A damaged checkpoint."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why}): use an older file, or make a new one")
        self.path, self.why = path, why


class ForeignError(DamagedError):
    """A safetensors file of another program."""


class Loaded(NamedTuple):
    """The result of `load_newest`."""

    tensors: Tensors
    metadata: dict[str, Any]
    path: Path  # the file that was loaded
    note: str  # why it is not the newest file, or ""


def save(
    path: Path | str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any], previous: Path | None = None
) -> None:
    """Write a checkpoint atomically, with a digest (SHA-256) of its contents. `metadata` has JSON values.

    Tensors may share memory and have any device, dtype and layout. The existing file is moved to `previous`; None drops
    it. Raises OSError, for example on a full disk; existing files stay.
    """
    from safetensors.torch import save_file  # only here: it imports PyTorch

    path = Path(path)
    whole = _contiguous(tensors)
    text = json.dumps(dict(metadata))
    with replacing(path, previous) as temporary:
        temporary.touch()
        usual = temporary.stat().st_mode
        try:
            save_file(whole, temporary, {"metadata": text, "sha256": _digest(whole, text)})
        except SafetensorError as error:
            found = re.search(r"os error (\d+)", str(error))  # the number of the cause is only in the text
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number), str(path)) from error
        _order_header(temporary)
        temporary.chmod(usual)  # safetensors makes files that only their owner may read


def load(path: Path | str, check: bool = True) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors, on the CPU, and the metadata of a checkpoint.

    `check` compares the digest, which takes some seconds for a large file; False accepts any safetensors file. Raises
    FileNotFoundError if the file is missing, and DamagedError if it is damaged or not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the path of a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = dict(json.loads(header.get("metadata", "{}")))
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # parsers raise all kinds of exceptions for damaged headers
        raise DamagedError(path, "it is cut short, or not a safetensors file") from error
    if check and "sha256" not in header:
        raise ForeignError(path, "it has no digest: another program wrote or changed it")
    if check and header["sha256"] != _digest(tensors, header.get("metadata", "")):
        raise DamagedError(path, "its contents do not match its digest")
    return tensors, metadata


def header(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint, from its header alone, unchecked; {} if the file cannot be read."""
    try:
        with safe_open(path, framework="np") as file:  # "pt" would import PyTorch
            return dict(json.loads((file.metadata() or {}).get("metadata", "{}")))
    except Exception:  # parsers raise any exception for damaged headers, which loading the file reports
        return {}


def digest(path: Path) -> str:
    """Return the digest stored in a checkpoint, 64 hexadecimal digits."""
    with safe_open(path, framework="pt") as file:
        return str(file.metadata()["sha256"])


def load_newest(path: Path, previous: Path | None) -> Loaded:
    """Load `path`, or `previous` if `path` is damaged or missing.

    Raises FileNotFoundError if both are missing, and ValueError if no file is undamaged.
    """
    if previous is None or not previous.is_file():
        return Loaded(*load(path), path, "")
    try:
        return Loaded(*load(path), path, "")
    except FileNotFoundError:
        trouble = f"{path} is missing"
    except DamagedError as error:
        trouble = f"{path} is damaged ({error.why})"
    try:
        return Loaded(*load(previous), previous, f"{trouble}: loaded {previous.name} instead")
    except DamagedError as error:
        raise ValueError(
            f"{trouble}, and {previous.name} is damaged ({error.why}): start a new run, or --transfer a network file"
        ) from error


def pack(tree: Any) -> tuple[Tensors, Any]:
    """Split nested dicts, lists and tuples into a flat dict of tensors and a skeleton of JSON values, for `unpack`.

    Leaves are tensors, numbers, bools, texts and None; keys are texts or whole numbers. Raises TypeError for others.
    """
    tensors: Tensors = {}
    return tensors, _skeleton(tree, "", tensors)


def unpack(tensors: Mapping[str, torch.Tensor], skeleton: Any) -> Any:
    """Undo `pack`. Raises ValueError for a wrong skeleton or a missing tensor, RecursionError for a nest too deep."""
    if isinstance(skeleton, list):
        return [unpack(tensors, node) for node in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    match list(skeleton.items()):
        case [("tensor", str(name))] if name in tensors:
            return tensors[name]
        case [("tuple", list(nodes))]:
            return tuple(unpack(tensors, node) for node in nodes)
        case [("dict", list(entries))] if all(map(_is_entry, entries)):
            return {key: unpack(tensors, node) for key, node in entries}
    raise ValueError("its tree of names is damaged, or names a missing tensor")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and type(entry[0]) in (str, int)


def check_keys(found: Any, expected: Collection[str | int], name: str) -> None:
    """Raise ValueError unless a value is a dict with exactly these keys. `name` is its name in the error."""
    if not isinstance(found, dict):
        raise ValueError(f"{name} is {printable(found, 40)}, expected a group of {len(expected)} values")
    for fault, keys in ("lacks", set(expected) - found.keys()), ("has the unknown key", found.keys() - set(expected)):
        if keys:
            raise ValueError(f"{name} {fault} {printable(min(map(str, keys)), 80)}")


def check_alike(found: Any, model: Any, name: str) -> None:
    """Raise ValueError, with `name`, unless nested dicts have a model's keys, and tensors its shapes and dtypes."""
    if not isinstance(model, torch.Tensor):
        check_keys(found, model, name)
        for key, inner in model.items():
            check_alike(found[key], inner, f"{name}.{key}")
    elif not isinstance(found, torch.Tensor):
        raise ValueError(f"{name} is {printable(found, 40)}, expected a tensor")
    elif found.shape != model.shape or found.dtype != model.dtype:
        kinds = [f"{str(t.dtype).removeprefix('torch.')} of shape {list(t.shape)}" for t in (found, model)]
        raise ValueError(f"{name} is {kinds[0]}, expected {kinds[1]}")


def _skeleton(tree: Any, name: str, tensors: Tensors) -> Any:
    """Lists and plain values stay; every JSON object has a single key, its type: tensor, dict or tuple."""
    if isinstance(tree, torch.Tensor):
        name = name or "tensor"
        while name in tensors or name == "__metadata__":  # {"a.b": x, "a": {"b": y}}; and a name of the format
            name += "'"
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, Mapping | list | tuple):
        entries = list(tree.items() if isinstance(tree, Mapping) else enumerate(tree))
        if odd := [key for key, _ in entries if type(key) not in (str, int)]:
            raise TypeError(f"keys of a state must be texts or whole numbers, got {odd[0]!r} in {name or 'its root'}")
        nodes = [_skeleton(node, f"{name}.{key}" if name else str(key), tensors) for key, node in entries]
        if isinstance(tree, Mapping):
            return {"dict": [[key, node] for (key, _), node in zip(entries, nodes, strict=True)]}
        return nodes if isinstance(tree, list) else {"tuple": nodes}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a state must consist of tensors, numbers, texts and None, got {type(tree).__name__} in {name}")


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors on the CPU, each contiguous and with memory of its own, as the format needs."""
    seen: set[int] = set()
    whole = {}
    for name, tensor in tensors.items():
        dense = tensor.detach().to("cpu").contiguous()
        address = dense.untyped_storage().data_ptr()
        whole[name] = dense.clone() if address in seen else dense
        seen.add(address)
    return whole


def _order_header(path: Path) -> None:
    """Sort the metadata in a file's header, whose order safetensors draws: equal contents give equal files."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) == length:
            file.seek(8)
            file.write(ordered)


def _digest(tensors: Tensors, text: str) -> str:
    """Return the SHA-256 of the metadata and of every tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if tensor.numel():
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
