"""Reads files of `torch.save`, in both formats, without running any code. `torch.load` is not used."""

import io
import mmap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from system.pickles import LEGACY_TORCH, read_pickle
from system.text import shown
from torch_utils.torchpickles import Budget, Storage, Storages, read_legacy, torch_makers

MAGIC = b"PK\x03\x04"
LARGEST = 2**33  # bytes of a file: ten times a training checkpoint at 1024 x 1024
LONGEST = 2**21  # bytes of data.pkl, which names the tensors but does not hold them: five times the same
MOST_RECORDS = 2**16  # files in an archive
SHARING = 2  # how often a file may use each of its bytes for tensors, on average
_CLAIMS = "it is damaged (its tensors claim more numbers than the file has)"
_DAMAGED = "it is damaged, or not a file of torch.save: download it again"


def begins_so(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a file of `torch.save`."""
    return head.startswith((MAGIC, LEGACY_TORCH))


def read(path: Path) -> Any:
    """Return the contents of a file of `torch.save`: nested dicts and lists, with tensors on the CPU.

    Raises:
        ValueError: the reason, without the path, if the file is damaged or contains something that is not allowed.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, more than the limit of {LARGEST >> 30} GiB")
    with path.open("rb") as file:
        if file.read(len(LEGACY_TORCH)) == LEGACY_TORCH:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return read_legacy(mapped, size, torch_makers(), Budget(size, _CLAIMS))
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, size)
        except (zipfile.BadZipFile, OSError, EOFError, OverflowError, RuntimeError, NotImplementedError) as error:
            raise ValueError(_DAMAGED) from error


def _read_archive(archive: zipfile.ZipFile, size: int) -> Any:
    records = archive.infolist()
    if len(records) > MOST_RECORDS:
        raise ValueError(f"its archive has more than {MOST_RECORDS:,} files, the limit")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its archive is compressed, unlike archives of torch.save")
    for record in records:
        if not record.CRC:
            del record.CRC  # it was saved without checksums, and zipfile shall check none
    folder = _folder([record.filename for record in records])
    known = {record.filename.removeprefix(folder): record for record in records}
    if len(known) < len(records):
        raise ValueError("its archive has two files of one name")
    if known["data.pkl"].file_size > LONGEST:
        raise ValueError(f"its data.pkl is longer than {LONGEST >> 20} MiB")
    if "byteorder" in known and (known["byteorder"].file_size != 6 or archive.read(known["byteorder"]) != b"little"):
        raise ValueError(_DAMAGED)

    def fill(key: str, storage: Storage) -> None:
        record = known.get(f"data/{key}")
        if record is None or record.file_size != storage.tensor.nbytes:
            raise ValueError(f"it is damaged (a tensor claims {len(storage.tensor):,} numbers, which are missing)")
        with archive.open(record) as member:
            storage.fill(member)
            member.read(1)  # checks the sum

    pickle = io.BytesIO(archive.read(known["data.pkl"]))
    found = read_pickle(pickle, torch_makers(), Storages(size, Budget(size, _CLAIMS), fill).named)
    if pickle.read(1):
        raise ValueError("it is damaged (bytes follow the end of its pickle)")
    return found


def _folder(names: list[str]) -> str:
    """Return the folder of all files in an archive, with a slash at its end: the folder of data.pkl."""
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any(name.endswith("/archive_format") for name in names) and len(found) != 1:
        raise ValueError("it is a graph of torch.export, expected weights: give the network that was exported")
    if len(found) != 1:
        raise ValueError("it is an archive without the data.pkl of torch.save")
    if any(name.endswith("/constants.pkl") for name in names):
        raise ValueError("it is a TorchScript program, expected weights")
    return found[0].removesuffix("data.pkl")


def plain_tensors(found: Any, what: str, most: int) -> dict[str, Tensor]:
    """Check a state dict that `read` returned, and return its tensors.

    Args:
        found: the value to check.
        what: its name in the file.
        most: size of the file in bytes, the limit for the tensors (times two, since some have two names).

    Raises:
        ValueError: if it is not a dict of dense CPU tensors, or exceeds the limit.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) and name.isprintable() for name in found):
        raise ValueError(f"its {what} is not a table of tensors")
    for name, tensor in found.items():
        if not _is_plain(tensor):
            raise ValueError(f"{shown(name)} in its {what} is not a plain tensor")
    if sum(tensor.nbytes for tensor in found.values()) > SHARING * most:
        raise ValueError(f"the tensors of its {what} are larger than the file")
    return {name: tensor.detach() for name, tensor in found.items()}


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and value.nbytes <= value.untyped_storage().nbytes()  # not an expanded tensor
    )
