"""Films of the page: the path through key frames with settings of their own, and its pictures."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import floor

import torch
from PIL import Image
from torch import Tensor

from explorer.encoding import encode
from explorer.keyframes import Film
from explorer.studio import Asked, Picture, Studio
from imaging.pixels import to_pil
from models.paths import Path, ease, times
from models.sampler import Request, Straight, Walkable
from sampling.films import PATHS


@dataclass(frozen=True)
class Reel:
    """A film that is ready to be computed. Noise and class are those of key frames, as in interpolate.py."""

    film: Film
    sampler: Walkable  # with the first key frame's settings
    path: Path
    requests: tuple[Request, ...]  # of the key frames

    @property
    def moments(self) -> list[float]:
        """The time of every frame, one key frame per unit."""
        return times(len(self.film.keys), self.film.frames, self.film.loop)

    def pictures(self, moments: Iterable[float]) -> Iterator[Tensor]:
        """The pictures at these times, uint8 [C, H, W], made as they are asked for."""
        eased = [ease(t) if self.film.easing == "smooth" else t for t in moments]
        return self.sampler.pictures((self.path(t) for t in eased), (self._request(t) for t in eased))

    def frames(self) -> Iterator[Image.Image]:
        """The frames of the film in their size."""
        for pixels in self.pictures(self.moments):
            frame, scale = to_pil(pixels), self.film.scale
            size = (frame.width * scale, frame.height * scale)
            yield frame.resize(size, Image.Resampling.LANCZOS) if scale > 1 else frame

    def _request(self, t: float) -> Request:
        """The class of the nearest key frame; the same noise in the whole film."""
        return self.requests[floor(t + 0.5) % len(self.requests)]._replace(name="", stream=self.requests[0].stream)


@torch.no_grad()
def open_reel(studio: Studio, film: Film) -> Reel:
    """The path of a film. Raise ValueError if the network makes no films, or a key frame does not fit it."""
    keys, requests = [], []
    with studio.switched():
        for state in film.keys:
            sampler, request = studio.prepared(state)
            if not isinstance(sampler, Walkable):
                raise ValueError("films need a network whose latents can be changed little by little")
            sampler.options.check_still()
            keys.append(sampler.map(sampler.latents([request]), [request]))
            requests.append(request)
        first, _ = studio.prepared(film.keys[0])
    assert isinstance(first, Walkable)
    kind = "spline" if isinstance(first, Straight) else "spherical"
    return Reel(film, first, PATHS[kind](torch.cat(keys), film.loop), tuple(requests))


class Preview:
    """Single frames of the film that was asked for last."""

    def __init__(self) -> None:
        self.reel: Reel | None = None

    def picture(self, studio: Studio, asked: Asked) -> Picture:
        """The frame of `asked.film` at `asked.time`, as a draft."""
        assert asked.film is not None
        start = time.perf_counter()
        if self.reel is None or self.reel.film != asked.film:
            self.reel = open_reel(studio, asked.film)
        end = len(asked.film.keys) - (0 if asked.film.loop else 1)
        with studio.switched(), torch.no_grad():
            (pixels,) = self.reel.pictures([min(asked.time, end)])
        kind, data = encode(pixels, quickly=True)
        return Picture(kind, data, 1000 * (time.perf_counter() - start), exact=False)
