"""TensorBoard's event files, in any folder."""

import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


def event_writer(folder: Path, **options: Any) -> SummaryWriter:
    """A writer of event files.

    TensorBoard takes only names in UTF-8. Where the folder's name has other bytes, as it may on Linux, the writer gets
    the folder by a descriptor.

    Args:
        folder: that exists.
        options: of SummaryWriter.
    """
    name = str(folder)
    try:
        name.encode()
    except UnicodeEncodeError:
        name = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
    return SummaryWriter(name, **options)
