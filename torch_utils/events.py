"""Writers of TensorBoard's event files."""

import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


def event_writer(folder: Path, **options: Any) -> SummaryWriter:
    """Return a SummaryWriter for an existing folder, also if its name is not UTF-8, as TensorBoard requires."""
    name = str(folder)
    try:
        name.encode()
    except UnicodeEncodeError:
        name = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
    return SummaryWriter(name, **options)
