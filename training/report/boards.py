"""Boards: other programs that show the scalars, pictures and texts of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter


class Board(Protocol):
    """Shows points of curves, picture files, texts and warnings. `seen` counts real images."""

    def scalars(self, values: Mapping[str, float], seen: int) -> None: ...
    def picture(self, name: str, path: Path, seen: int) -> None: ...
    def text(self, name: str, text: str, seen: int) -> None: ...
    def alarm(self, kind: str, text: str, seen: int) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run folder.

    Args:
        folder: the run folder.
        seen: images that a resumed run has seen; what was written after them is dropped.
    """

    def __init__(self, folder: Path, seen: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=seen + 1 if seen else None)

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, seen)
        self._writer.flush()

    def picture(self, name: str, path: Path, seen: int) -> None:
        """Show the bytes of the file as they are: encoding them anew would take twice as long."""
        assert self._writer.file_writer is not None  # until `close`
        with Image.open(path) as image:
            size = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
        shown = Summary.Image(encoded_image_string=path.read_bytes(), **size)
        self._writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), seen)

    def text(self, name: str, text: str, seen: int) -> None:
        """TensorBoard reads Markdown, which leaves indented lines as they are."""
        self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), seen)

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self._writer.add_text("alarms", f"**{kind}**: {text}", seen)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
