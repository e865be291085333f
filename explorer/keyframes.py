"""A film of the page as one JSON value: pictures, each with its settings, and how the film leads through them."""

import shlex
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from explorer.pagestate import PageState, Scene

MOST_KEYS = 64
SCRIPT = "interpolate.py"
NAME = "interpolation"  # of the file, as the script's


class Film(BaseModel):
    """Key frames and the way through them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[PageState, ...] = Field(min_length=2, max_length=MOST_KEYS)
    frames: int = Field(60, ge=1, le=3600)  # from one key frame to the next
    fps: float = Field(30, gt=0, le=240)  # frames a second
    loop: bool = True  # back to the first key frame
    easing: Literal["none", "smooth"] = "none"  # smooth slows down at key frames
    scale: int = Field(1, ge=1, le=16)  # factor by which frames are enlarged
    format: Literal["mp4", "gif", "webp"] = "mp4"

    @property
    def file_name(self) -> str:
        """The name of the file that is written."""
        return f"{NAME}.{self.format}"


def film_command(scene: Scene, film: Film) -> str:
    """The command line that makes the same file, or "" if key frames differ in more than seeds, or mix classes."""
    first, seeds = film.keys[0], [key.seed for key in film.keys]
    alike = all(key.model_copy(update={"seeds": first.seeds}) == first for key in film.keys)
    if not alike or None in seeds or first.classes:
        return ""
    words = shlex.split(scene.command(first))
    words[1], words[words.index("--seeds") + 1] = SCRIPT, ",".join(map(str, seeds))
    usual = Film.model_construct(keys=film.keys)
    words += ["--frames", str(film.frames)] if film.frames != usual.frames else []
    words += ["--fps", f"{film.fps:g}"] if film.fps != usual.fps else []
    words += [] if film.loop else ["--no-loop"]
    words += ["--easing", film.easing] if film.easing != usual.easing else []
    words += ["--scale", str(film.scale)] if film.scale != usual.scale else []
    words += ["--format", film.format] if film.format != usual.format else []
    return shlex.join(words)
