"""Pictures of a generator with styles: seed -> z -> w, truncated -> image -> pixels.

The rounding of a matrix product depends on the number of samples. On a CPU a seed must always give the same bytes, so
callers compute one picture at a time there (`at_once=1`). Letters: N batch, C H W a picture, L layers, D width of w.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.pixels import to_pixels
from models.sampler import Request, SeedStream, Shape, class_of, learned_classes
from models.stylegan2.centers import Anchors
from models.stylegan2.choices import StyleOptions
from models.stylegan2.generator import Generator, StyledGenerator
from models.stylegan2.latents import Latents, load_latents
from models.stylegan2.mapping import truncate


@dataclass(frozen=True)
class LatentStream(SeedStream):
    """A latent of a file in place of a seed's; its seed is its number in the file, for random noise."""

    ws: Tensor  # [L, D]
    maps: tuple[Tensor, ...] | None = None  # noise that was fitted with w, [1, H, W] for each layer


class StyleSampler:
    """A generator with styles, on its device, and the options of its pictures: a `Sampler`, `Walkable` and `Straight`.

    The metadata of the network's file tell the classes that it learned. Raises FileNotFoundError or ValueError for
    options that do not fit the network.
    """

    def __init__(
        self, G: StyledGenerator, options: StyleOptions | None = None, metadata: Mapping[str, Any] | None = None
    ):
        self.G, self.options = G, options or StyleOptions()
        self.shape = Shape.of(G.config)
        self.metadata = metadata or {}
        self.learned = learned_classes(self.metadata, self.shape.classes)
        check_cutoff(self.options.psi_cutoff, G.config.num_ws)
        self.anchors = Anchors(G, self.options.centers)
        self.latents_of_file = load_latents(self.options.latents, G) if self.options.latents is not None else None

    @property
    def device(self) -> torch.device:
        """The device of the generator."""
        return self.G.mapping.w_average.device

    def requests(self, seeds: Sequence[int], label: int | None = None) -> list[Request]:
        """A request for each seed, or with --latents for each latent of the file as `fitted` says."""
        if self.latents_of_file is not None:
            return self.fitted(self.latents_of_file, label)
        return [Request(f"seed{seed:04d}", class_of(seed, label, self.learned), SeedStream(seed)) for seed in seeds]

    def fitted(self, latents: Latents, label: int | None = None) -> list[Request]:
        """A request for each latent of a file. `label` chooses the --centers of a class, and nothing else."""
        centered = self.anchors.count is not None
        if label is not None and not centered:
            raise ValueError("--class does not apply to --latents, which have their class in them: leave it out")
        if centered and label is None and self.shape.classes:
            raise ValueError("--centers with --latents needs --class: latent files do not record a class")
        each = None if latents.maps is None else list(zip(*latents.maps, strict=True))  # [1, H, W] for each layer
        streams = [LatentStream(n, w, None if each is None else each[n]) for n, w in enumerate(latents.ws)]
        return [Request(f"latent{stream.seed:04d}", label, stream) for stream in streams]

    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures of requests, uint8 [C, H, W] on the sampler's device, one after another."""
        for first in range(0, len(requests), at_once):
            chunk = requests[first : first + at_once]
            with torch.inference_mode():
                pixels = self._pixels(self._truncated_ws(chunk), chunk)
            yield from pixels

    def ws(self, requests: Sequence[Request], psi: float | None = None) -> Tensor:
        """The truncated w [N, L, D] of requests, each computed by itself; `psi` replaces the option's."""
        return torch.cat([self._truncated_ws([request], psi) for request in requests])

    def pictures(self, ws: Iterable[Tensor], requests: Iterable[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures of whole w [L, D] with the noise of requests, uint8 [C, H, W], made as they are asked for."""
        pairs = zip(ws, requests, strict=True)
        while chunk := list(islice(pairs, at_once)):
            yield from self._pixels(torch.stack([w for w, _ in chunk]), [request for _, request in chunk])

    def truncated(self, ws: Tensor, labels: Sequence[int | None], psi: float | None = None) -> Tensor:
        """w [N, L, D] of these classes, truncated as the options say; `psi` replaces the option's."""
        psi = self.options.psi if psi is None else psi
        return ws if psi == 1 else truncate(ws, self.anchors.of(ws, labels)[:, None], psi, self.options.psi_cutoff)

    def latents(self, requests: Sequence[Request]) -> Tensor:
        """Standard normal z [N, D] of requests."""
        return torch.stack([request.stream.normal(self.G.config.z_dim) for request in requests]).to(self.device)

    def map(self, z: Tensor, requests: Sequence[Request]) -> Tensor:
        """z [N, D] of the requests' classes -> truncated w [N, L, D]."""
        labels = [request.label for request in requests]
        return self.truncated(self.G.ws(z, self.one_hot(labels)), labels)

    def render(self, ws: Tensor, requests: Sequence[Request]) -> Tensor:
        """w [N, L, D] with the noise of requests -> images [N, C, H, W], about [-1, 1]."""
        mode = self.options.noise_mode
        if mode == "random":
            return self.G.synthesis.render(ws.float().contiguous(), self._noises(requests))
        fitted = [r.stream.maps for r in requests if isinstance(r.stream, LatentStream) and r.stream.maps is not None]
        if mode == "const" and fitted:
            assert isinstance(self.G, Generator), "load_latents reads noise for no other network"
            return self.G.synthesis.with_noise(ws, [torch.stack(layer) for layer in zip(*fitted, strict=True)])
        return self.G.synthesis(ws, mode)

    def with_options(self, options: StyleOptions) -> Self:
        """A sampler of the same generator with other options. Raises ValueError for options that do not fit it."""
        check_cutoff(options.psi_cutoff, self.G.config.num_ws)
        other = copy.copy(self)
        other.options = options
        if options.centers != self.options.centers:
            other.anchors = Anchors(self.G, options.centers)
        return other

    def in_float32(self) -> Self:
        """A copy that computes in float32."""
        other = copy.copy(self)
        other.G = copy.deepcopy(self.G).set_precision("fp32")
        return other

    @torch.no_grad()
    def _truncated_ws(self, requests: Sequence[Request], psi: float | None = None) -> Tensor:
        """[N, L, D], computed together."""
        labels = [request.label for request in requests]
        given = [request.stream.ws for request in requests if isinstance(request.stream, LatentStream)]
        ws = torch.stack(given) if given else self.G.ws(self.latents(requests), self.one_hot(labels))
        return self.truncated(ws, labels, psi)

    @torch.inference_mode()
    def _pixels(self, ws: Tensor, requests: Sequence[Request]) -> Tensor:
        return to_pixels(self.render(ws, requests), rounding="truncate")  # [N, C, H, W]

    def one_hot(self, labels: Sequence[int | None]) -> Tensor | None:
        """Classes -> [N, classes]; None without classes, about which the mapping complains if it needs one."""
        known = [label for label in labels if label is not None]
        classes = self.shape.classes
        for label in known:
            if not 0 <= label < classes:
                raise ValueError(f"class {label}: this network has {classes} classes, counted from 0")
        return F.one_hot(torch.tensor(known, device=self.device), classes).float() if known else None

    def _noises(self, requests: Sequence[Request]) -> list[Tensor | None]:
        """The noise of each layer [N, 1, H, W]: on a GPU drawn for all layers at once, on a CPU layer by layer."""
        streams = [request.stream.generator("noise", self.device) for request in requests]
        if self.device.type == "cuda" and isinstance(self.G, Generator):
            size = self.G.synthesis.noise_size
            drawn = [torch.randn(size, device=self.device, generator=stream) for stream in streams]
            return self.G.synthesis.parted_noise(torch.stack(drawn))
        each = [self.G.synthesis.noises(1, "random", stream) for stream in streams]
        return [torch.cat([noise for noise in layer if noise is not None]) for layer in zip(*each, strict=True)]


def check_cutoff(cutoff: int | None, num_ws: int) -> None:
    """Raise ValueError if --psi-cutoff exceeds the number of w, `num_ws`."""
    if cutoff is not None and cutoff > num_ws:
        raise ValueError(f"--psi-cutoff {cutoff}: expected 0 to {num_ws}, the number of layers of this network")


def open_styles(networks: Mapping[str, Any], options: StyleOptions, metadata: Mapping[str, Any]) -> StyleSampler:
    """A sampler of the one network that pictures are made with; its weights must not change from here on."""
    (G,) = networks.values()
    return StyleSampler(G.fold(), options, metadata)
