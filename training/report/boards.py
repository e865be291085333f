"""Boards: programs of their own that show scalars, pictures and texts of a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from torch_utils.events import event_writer


class Board(Protocol):
    """What the report asks of one. `seen` counts real images."""

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        """A point of each curve."""

    def picture(self, name: str, path: Path, seen: int) -> None:
        """A picture file."""

    def text(self, name: str, text: str, seen: int) -> None:
        """A text, such as the configuration."""

    def alarm(self, kind: str, text: str, seen: int) -> None:
        """A warning, at once."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files in the run folder.

    Args:
        folder: the run folder.
        seen: images that a resumed run has seen; what was written after them is dropped.
    """

    def __init__(self, folder: Path, seen: int = 0) -> None:
        self._writer = event_writer(folder, purge_step=seen + 1 if seen else None)

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, seen)
        self._writer.flush()

    def picture(self, name: str, path: Path, seen: int) -> None:
        """A picture file, its bytes as they are: encoding it anew would take twice as long."""
        if self._writer.file_writer is None:
            return
        with Image.open(path) as image:
            size = {"width": image.width, "height": image.height, "colorspace": len(image.getbands())}
        shown = Summary.Image(encoded_image_string=path.read_bytes(), **size)
        self._writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), seen)

    def text(self, name: str, text: str, seen: int) -> None:
        """TensorBoard reads Markdown: lines that are indented stay as they are."""
        self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), seen)

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self._writer.add_text("alarms", f"**{kind}**: {text}", seen)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Spare:
    """A board that training can go on without: when it fails, `complain` gets one sentence, once, and nothing stops."""

    def __init__(self, board: Board, name: str, complain: Callable[[str], object]) -> None:
        self._board, self._name, self._complain = board, name, complain
        self._failed = False

    def scalars(self, values: Mapping[str, float], seen: int) -> None:
        self._attempt(lambda: self._board.scalars(values, seen))

    def picture(self, name: str, path: Path, seen: int) -> None:
        self._attempt(lambda: self._board.picture(name, path, seen))

    def text(self, name: str, text: str, seen: int) -> None:
        self._attempt(lambda: self._board.text(name, text, seen))

    def alarm(self, kind: str, text: str, seen: int) -> None:
        self._attempt(lambda: self._board.alarm(kind, text, seen))

    def close(self) -> None:
        self._attempt(self._board.close)

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # of a program that is not ours
            if not self._failed:
                self._complain(f"{self._name} failed ({type(error).__name__}: {error}): training goes on without it")
            self._failed = True
