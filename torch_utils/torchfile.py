"""PyTorch's own files (`torch.save`, both formats), read without running anything in them and without being exhausted.

`torch.load(weights_only=True)` runs no code, but it follows what a file says about sizes, and its list of what may be
called is long. Here the instructions of the pickle are looked over first: few calls are allowed, each by its exact
name. What comes out may be trusted to be plain tensors of no more memory than the file has.
"""

import io
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

LARGEST = 2**33  # bytes of a file: ten times a training checkpoint of 1024 x 1024
LONGEST = 2**21  # bytes of its pickle, which names the tensors but does not hold them: five times the same
MOST_RECORDS = 2**16  # files in the archive
SHARING = 4  # how many times the file's size its tensors may take in all: some stand under two names

_ARCHIVE = b"PK\x03\x04"
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # how files of the format before 1.6 begin
_LEGACY_PICKLES = 5  # magic number, version, system, the contents, the order of the storages

_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    "collections OrderedDict",
    "argparse Namespace",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch device",
    "torch Size",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}


class _Options:
    """Stands for `argparse.Namespace`, in which training scripts keep their options: they are not looked at."""


def begins_so(head: bytes) -> bool:
    """Whether a file that begins with these bytes can be one: an archive, or the pickles of the format before 1.6."""
    return head.startswith((_ARCHIVE, _LEGACY))


def read(path: Path) -> Any:
    """What `torch.save` wrote to a file: its nest of dicts, with tensors on the CPU.

    Raises:
        ValueError: when something in it is refused, by its name, or it is damaged: the reason alone, without the path.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and at most {LARGEST >> 30} are read")
    with path.open("rb") as file:
        try:
            for pickle in _pickles(file):
                _look_over(pickle)
            file.seek(0)
            with warnings.catch_warnings(), torch.serialization.safe_globals([(_Options, "argparse.Namespace")]):
                warnings.simplefilter("ignore")  # of protocols; what is not understood is an error
                return torch.load(file, map_location="cpu", weights_only=True)
        except _RefusedError as error:
            raise ValueError(str(error)) from error
        except Exception as error:  # whatever damage leads to
            raise ValueError("it is damaged, or not of torch.save: fetch it anew") from error


def plain_tensors(found: Any, what: str, most: int) -> dict[str, Tensor]:
    """The tensors of a state dict that `read` gave, each checked to be a plain one.

    Args:
        found: what may be a dict of tensors.
        what: its name in the file.
        most: the size of the file; the tensors may not take much more.

    Raises:
        ValueError: when it is no dict of plain tensors, or they would take more memory than the file can hold.
    """
    if not isinstance(found, Mapping) or not all(map(_is_name, found)):
        raise ValueError(f"its {what} is no table of tensors")
    for name, tensor in found.items():
        if not _is_plain(tensor):
            raise ValueError(f"{name[:80]!r} in its {what} is no plain tensor")
    if sum(tensor.nbytes for tensor in found.values()) > SHARING * most:
        raise ValueError(f"the tensors of its {what} are larger than the file")
    return {name: tensor.detach() for name, tensor in found.items()}


class _RefusedError(Exception):
    """The reason, in words."""


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and value.nbytes <= value.untyped_storage().nbytes()  # else a picture of one number, however large
    )


def _pickles(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The pickles in a file, in front of each of which it stands in turn."""
    if file.read(len(_LEGACY)) == _LEGACY:
        file.seek(0)
        start = io.BytesIO(file.read(LONGEST))
        for _ in range(_LEGACY_PICKLES):
            yield start
        return
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        yield io.BytesIO(archive.read(_checked(archive, file)))


def _checked(archive: zipfile.ZipFile, file: IO[bytes]) -> zipfile.ZipInfo:
    """The record of an archive that holds the pickle, when no record is more than it seems."""
    records = archive.infolist()
    found = [record for record in records if record.filename.count("/") == 1 and record.filename.endswith("/data.pkl")]
    if len(found) != 1:
        if any(record.filename.endswith("/archive_format") for record in records):
            raise _RefusedError(
                "it is a graph of torch.export, and wanted are weights: give the network that it was made of"
            )
        raise _RefusedError("it is an archive without the one data.pkl of torch.save")
    if any(record.filename.endswith("/constants.pkl") for record in records):
        raise _RefusedError("it is a TorchScript program, and wanted are weights")
    if len(records) > MOST_RECORDS or len({record.filename for record in records}) < len(records):
        raise _RefusedError("its archive has too many files, or two of one name")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise _RefusedError("its archive is compressed, as those of torch.save never are")
    if sum(record.file_size for record in records) > file.seek(0, io.SEEK_END):
        raise _RefusedError("its archive unpacks to more than it is")
    if found[0].file_size > LONGEST:
        raise _RefusedError(f"its data.pkl is longer than {LONGEST >> 20} MiB")
    return found[0]


def _look_over(pickle: IO[bytes]) -> None:
    """Reads the instructions of one pickle, up to its end, without following them."""
    for code, argument, _ in pickletools.genops(pickle):
        if code.name in ("GLOBAL", "INST") and argument not in _ALLOWED:
            raise _RefusedError(f"it calls {str(argument).replace(' ', '.')[:80]!r}, which no file of weights needs")
        if code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise _RefusedError(f"its pickle has the instruction {code.name}, which torch.save never writes")
