"""PyTorch's own files (`torch.save`, both formats), read without running anything in them and without being exhausted.

`torch.load` is not asked. Its archive reader is another than Python's, so what one looks over is not what the other
loads, and its list of what may be called is long. Here one reader of archives and one of pickles do everything
(`torcharchive`, `system.pickles`), and tensors are filled from the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from system.pickles import LEGACY_TORCH, read_pickle
from system.text import shown
from system.windows import Window
from torch_utils.torcharchive import MAGIC, Archive, DamagedError
from torch_utils.torchpickles import Budget, Storage, Storages, read_legacy, torch_makers

LARGEST = 2**33  # bytes of a file: ten times a training checkpoint of 1024 x 1024
LONGEST = 2**21  # bytes of its pickle, which names the tensors but does not hold them: five times the same
SHARING = 2  # how many times the file's size its tensors may take in all: some stand under two names
_CLAIMS = "it is damaged (its tensors claim more numbers than the file has)"


def begins_so(head: bytes) -> bool:
    """Whether a file that begins with these bytes can be one: an archive, or the pickles of the format before 1.6."""
    return head.startswith((MAGIC, LEGACY_TORCH))


def read(path: Path) -> Any:
    """What `torch.save` wrote to a file: its nest of dicts, with tensors on the CPU.

    Raises:
        ValueError: when something in it is refused, by its name, or it is damaged: the reason alone, without the path.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size / 2**30:.1f} GiB, and at most {LARGEST >> 30} are read")
    with path.open("rb") as file:
        if file.read(len(LEGACY_TORCH)) == LEGACY_TORCH:
            return read_legacy(Window(file, 0, size), torch_makers(), Budget(size, _CLAIMS))
        return _read_archive(file, size)


def _read_archive(file: BinaryIO, size: int) -> Any:
    archive = Archive(file)
    if archive.size("data.pkl") > LONGEST:
        raise ValueError(f"its data.pkl is longer than {LONGEST >> 20} MiB")
    pickle = archive.read("data.pkl")
    order = archive.read("byteorder") if "byteorder" in archive and archive.size("byteorder") < 10 else b"little"
    if order not in (b"little", b"big"):
        raise DamagedError

    def fill(key: str, storage: Storage) -> None:
        record = f"data/{key}"
        if record not in archive or archive.size(record) != storage.tensor.nbytes:
            raise ValueError(f"it is damaged (a tensor claims {len(storage.tensor):,} numbers, which are not there)")
        storage.fill(lambda buffer: archive.read_into(record, buffer), order.decode())

    window = Window.of(pickle)
    found = read_pickle(window, torch_makers(), Storages(size, Budget(size, _CLAIMS), fill).named)
    if window.left:
        raise ValueError(f"it is damaged ({window.left:,} bytes follow the end of its pickle)")
    return found


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
            raise ValueError(f"{shown(name)} in its {what} is no plain tensor")
    if sum(tensor.nbytes for tensor in found.values()) > SHARING * most:
        raise ValueError(f"the tensors of its {what} are larger than the file")
    return {name: tensor.detach() for name, tensor in found.items()}


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
