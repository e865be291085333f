"""Pictures of a generator with styles: seed -> z -> w, truncated -> image -> pixels.

The rounding of a matrix product depends on the number of samples. On a CPU a seed must always give the same bytes, so
callers compute one picture at a time there (`at_once=1`). Letters: N batch, C H W a picture, L layers, D width of w.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.pixels import to_pixels
from models.graphs import ExportGraph, Run
from models.sampler import MixedStream, Request, SeedStream, Shape, blended, class_of, learned_classes
from models.stylegan2.centers import Anchors
from models.stylegan2.choices import StyleOptions
from models.stylegan2.composing import read_moves, read_parts
from models.stylegan2.directionfile import Directions, check_fit, load_directions
from models.stylegan2.generator import Generator, StyledGenerator
from models.stylegan2.generatorgraph import EngineSynthesis
from models.stylegan2.latents import Latents, groups_of, load_latents, mix
from models.stylegan2.mapping import truncate
from models.stylegan2.memory import Memory
from torch_utils.cli import say


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
        check_layers(self.options, G.config.num_ws)
        self.anchors = Anchors(G, self.options.centers)
        self._files: dict[tuple[Path, int], Any] = {}
        self.latents_of_file = self._file(self.options.latents) if self.options.latents is not None else None
        self.sources, self.steps = self._sources(), self._steps()
        self.memory: Memory | None = None
        self.engine: EngineSynthesis | None = None

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

    @property
    def layers(self) -> int:
        """How many parts w has, one for each layer."""
        return int(self.G.config.num_ws)

    @property
    def groups(self) -> Mapping[str, Sequence[int]]:
        """Layers that are often changed together: coarse, middle and fine ones."""
        return groups_of(self.layers)

    def _file(self, path: Path) -> Latents:
        """The latents of a file, which is read again when it has changed."""
        found: Latents = self._read(path, lambda: load_latents(path, self.G))
        return found

    def _read(self, path: Path, load: Callable[[], Any]) -> Any:
        """What `load` returns, or returned before if the file is the same."""
        key = (path, path.stat().st_mtime_ns if path.is_file() else 0)
        if key not in self._files:
            self._files[key] = load()
        return self._files[key]

    def _steps(self) -> list[tuple[Directions, int, float, Sequence[int] | None]]:
        """The steps that --move names: directions, the place of one in them, strength and layers."""
        path = self.options.directions
        if path is None or not self.options.move:
            return []
        directions: Directions = self._read(path, lambda: self._directions(path))
        return [(directions, *move) for move in read_moves(self.options.move, directions, self.layers)]

    def _directions(self, path: Path) -> Directions:
        directions = load_directions(path)
        if warning := check_fit(directions, self.G, path):
            say(f"note: {warning}")
        return directions

    def _sources(self) -> list[tuple[Request, Sequence[int], float]]:
        """The pictures whose styles --styles-of takes: requests with layers and weights."""
        found = []
        for part in read_parts(self.options.styles_of, self.layers):
            if part.file is not None:
                (request, *_) = self.fitted(self._file(part.file), part.classes[0][0] if part.classes else None)
            else:
                seed = part.seeds[0][0]
                stream = SeedStream(seed) if len(part.seeds) == 1 else MixedStream(part.seeds)
                request = Request(f"seed{seed:04d}", class_of(seed, None, self.learned), stream)
                request = self.of_classes(request, part.classes) if part.classes else request
            found.append((request, part.layers, part.weight))
        return found

    def composed(self, ws: Tensor, psi: float | None = None) -> Tensor:
        """Truncated w [N, L, D] with the styles that --styles-of takes from other pictures, and the steps of --move."""
        for request, layers, weight in self.sources:
            ws = mix(ws, self._own_ws([request], psi).to(ws), layers, weight)
        for directions, place, strength, layers_of_step in self.steps:
            ws = directions.step(place, strength, ws, layers_of_step)
        return ws

    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures of requests, uint8 [C, H, W] on the sampler's device, one after another."""
        for first in range(0, len(requests), at_once):
            chunk = requests[first : first + at_once]
            yield from self._pixels(self._truncated_ws(chunk), chunk)

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
        o, psi = self.options, self.options.psi if psi is None else psi
        return ws if psi == 1 else truncate(ws, self.anchors.of(ws, labels)[:, None], psi, o.psi_cutoff, o.psi_from)

    def latents(self, requests: Sequence[Request]) -> Tensor:
        """Standard normal z [N, D] of requests."""
        return torch.stack([request.stream.normal(self.G.config.z_dim) for request in requests]).to(self.device)

    def map(self, z: Tensor, requests: Sequence[Request]) -> Tensor:
        """z [N, D] of the requests' classes -> truncated w [N, L, D]; latents of a file keep their w."""
        ws = self._whole_ws(requests, lambda: z)
        return self.composed(self.truncated(ws, [request.label for request in requests]))

    def render(self, ws: Tensor, requests: Sequence[Request]) -> Tensor:
        """w [N, L, D] with the noise of requests -> images [N, C, H, W], about [-1, 1]."""
        options, synthesis = self.options, self.G.synthesis
        fitted = [r.stream.maps for r in requests if isinstance(r.stream, LatentStream) and r.stream.maps is not None]
        usual = options.noise_mode != "random" and options.noise_strength == 1 and not fitted
        if usual and self.memory is None and self.engine is None:
            return synthesis(ws, options.noise_mode)
        if options.noise_mode == "random":
            noises = self._noises(requests)
        elif options.noise_mode == "const" and fitted:
            assert isinstance(self.G, Generator), "load_latents reads noise for no other network"
            maps = [torch.stack(layer) for layer in zip(*fitted, strict=True)]
            noises = [each * layer.noise.strength for each, layer in zip(maps, synthesis.layers, strict=True)]
        else:
            noises = synthesis.noises(len(ws), options.noise_mode, None)
        noises = synthesis.scaled(noises, options.noise_strength)
        return (self.engine or self.memory or synthesis).render(ws.float().contiguous(), noises)

    def with_options(self, options: StyleOptions) -> Self:
        """A sampler of the same generator with other options. Raises ValueError for options that do not fit it."""
        check_layers(options, self.G.config.num_ws)
        other = copy.copy(self)
        other.options = options
        if options.centers != self.options.centers:
            other.anchors = Anchors(self.G, options.centers)
        if options.latents != self.options.latents:
            other.latents_of_file = self._file(options.latents) if options.latents is not None else None
        other.sources, other.steps = other._sources(), other._steps()
        return other

    def remembering(self) -> Self:
        """A sampler of the same generator that computes only the parts of a picture that differ from the last two."""
        other = copy.copy(self)
        other.memory = Memory(self.G.synthesis) if isinstance(self.G, Generator) else None
        return other

    def run_by(self, engine: Callable[[ExportGraph], Run]) -> Self:
        """A sampler of the same generator whose synthesis network `engine` computes; PyTorch computes w.

        Raises ValueError for a network of another program, which cannot be exported.
        """
        if not isinstance(self.G, Generator):
            raise ValueError("--engine onnxruntime computes no networks of lucidrains' program: leave it out")
        other = copy.copy(self)
        other.engine = EngineSynthesis(self.G, engine)
        return other

    def in_float32(self) -> Self:
        """A copy that computes in float32."""
        other = copy.copy(self)
        other.memory = other.engine = None
        other.G = copy.deepcopy(self.G).set_precision("fp32")
        return other

    def _truncated_ws(self, requests: Sequence[Request], psi: float | None = None) -> Tensor:
        """[N, L, D], computed together."""
        return self.composed(self._own_ws(requests, psi), psi)

    @torch.no_grad()
    def _own_ws(self, requests: Sequence[Request], psi: float | None = None) -> Tensor:
        """The truncated w [N, L, D] without styles of other pictures."""
        ws = self._whole_ws(requests, lambda: self.latents(requests))
        return self.truncated(ws, [request.label for request in requests], psi)

    def _whole_ws(self, requests: Sequence[Request], z: Callable[[], Tensor]) -> Tensor:
        """The w [N, L, D] of requests before truncation: those of a file, or the mapping's of z [N, D]."""
        given = [request.stream.ws for request in requests if isinstance(request.stream, LatentStream)]
        return torch.stack(given) if given else self.G.ws(z(), self._classes(requests))

    @torch.no_grad()
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

    def of_classes(self, request: Request, parts: Sequence[tuple[int, float]]) -> Request:
        """The request with a mixture of classes: the weighted mean of their one-hot vectors goes to the mapping."""
        if isinstance(request.stream, LatentStream):
            raise ValueError("a mixture of classes does not apply to --latents, which have their class in them")
        return blended(request, parts, self.shape.classes)

    def _classes(self, requests: Sequence[Request]) -> Tensor | None:
        """The vectors of classes [N, classes] that the mapping takes: one-hot, or means of several."""
        if not any(request.classes for request in requests):
            return self.one_hot([request.label for request in requests])
        c = torch.zeros(len(requests), self.shape.classes, device=self.device)
        for row, request in zip(c, requests, strict=True):
            for label, share in request.classes or [(request.label, 1.0)]:
                row[label] += share
        return c

    def _noises(self, requests: Sequence[Request]) -> list[Tensor | None]:
        """The noise of each layer [N, 1, H, W]: on a GPU drawn for all layers at once, on a CPU layer by layer."""
        seed = self.options.noise_seed
        each_stream = [request.stream if seed is None else SeedStream(seed) for request in requests]
        streams = [stream.generator("noise", self.device) for stream in each_stream]
        if self.device.type == "cuda" and isinstance(self.G, Generator):
            size = self.G.synthesis.noise_size
            drawn = [torch.randn(size, device=self.device, generator=stream) for stream in streams]
            return self.G.synthesis.parted_noise(torch.stack(drawn))
        each = [self.G.synthesis.noises(1, "random", stream) for stream in streams]
        return [torch.cat([noise for noise in layer if noise is not None]) for layer in zip(*each, strict=True)]


def check_layers(options: StyleOptions, num_ws: int) -> None:
    """Raise ValueError if --psi-cutoff or --psi-from exceeds the number of w, `num_ws`."""
    check_cutoff(options.psi_cutoff, num_ws)
    check_cutoff(options.psi_from, num_ws, "--psi-from")


def check_cutoff(cutoff: int | None, num_ws: int, option: str = "--psi-cutoff") -> None:
    """Raise ValueError if --psi-cutoff exceeds the number of w, `num_ws`."""
    if cutoff is not None and cutoff > num_ws:
        raise ValueError(f"{option} {cutoff}: expected 0 to {num_ws}, the number of layers of this network")


def open_styles(networks: Mapping[str, Any], options: StyleOptions, metadata: Mapping[str, Any]) -> StyleSampler:
    """A sampler of the one network that pictures are made with; its weights must not change from here on."""
    (G,) = networks.values()
    return StyleSampler(G.fold(), options, metadata)
