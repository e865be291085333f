"""Pictures of a denoising network: seed -> noise -> step by step a picture -> pixels.

On a CPU a seed must give the same bytes whatever other seeds are made with it, so callers compute one picture at a time
there (`at_once=1`).
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from imaging.pixels import false_colors, to_pixels
from models.compute import fixed_weights
from models.diffusion.choices import DenoisingOptions
from models.diffusion.codec import Codec, open_codec
from models.diffusion.config import DenoiserConfig, NoisyConfig
from models.diffusion.denoisergraph import graph_of
from models.diffusion.guidance import Guidance, Network, denoiser
from models.diffusion.process import Process, kept_steps
from models.diffusion.solvers import Solver, solver
from models.graphs import ExportGraph, Run
from models.sampler import Request, SeedStream, Shape, class_of, learned_classes
from torch_utils import config as configs
from torch_utils.device import Precision

CLIPPED = ("eps", "x0", "v")  # objectives whose predicted pictures, never latents, are limited to [-1, 1] as in ADM


class DenoisingNetwork(Protocol):
    """A network that predicts what noise hides."""

    @property
    def config(self) -> DenoiserConfig: ...
    def __call__(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor: ...
    def set_precision(self, precision: Precision) -> Self: ...
    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


class DenoisingSampler:
    """A denoising network on its device, and how its pictures are made; a `Sampler` and a `Walkable`.

    Args:
        network: makes the predictions.
        options: solver and guidance.
        metadata: of the file that tells the classes, which is the classifier's for an unconditional network.
        guide: a worse network, for autoguidance.
        classifier: of noisy pictures, for classifier guidance.
        codec: makes pictures of latents; without it they are shown in false colors.

    Raises:
        ValueError: for options that do not fit the networks.
    """

    def __init__(
        self,
        network: DenoisingNetwork,
        options: DenoisingOptions | None = None,
        metadata: Mapping[str, Any] | None = None,
        guide: DenoisingNetwork | None = None,
        classifier: Any = None,
        codec: Codec | None = None,
    ) -> None:
        self.network, self.options = network, options or DenoisingOptions()
        self.guide, self.classifier = guide, classifier
        self.null = network.config.classes
        # An unconditional network learned no classes, but a classifier beside it did.
        classes = self.null or (classifier.config.classes if classifier is not None else 0)
        self.noisy = self.shape = Shape.of(network.config)._replace(classes=classes)
        self.codec = codec.of(network.config) if codec else None
        if codec is not None:
            sides = self.noisy.height * codec.factor, self.noisy.width * codec.factor
            self.shape = Shape(*sides, codec.pictures, classes)
        self.metadata = metadata or {}
        self.learned = learned_classes(self.metadata, classes)
        self.run: Network | None = None  # the network, computed by another engine
        self._check()
        self.process = steps_of(network.config, self.options.steps).to(self.device)

    def _check(self) -> None:
        o, config = self.options, self.network.config
        if o.cfg_channels is not None and o.cfg_channels > config.channels:
            raise ValueError(f"--cfg-channels {o.cfg_channels}: the pictures have {config.channels} channels")
        if self.guide is not None:
            check_alike(self.guide, config, o.guide)
        elif o.cfg_scale != 1 and not config.classes:
            raise ValueError(
                f"--cfg-scale {o.cfg_scale:g} needs a network with classes, or a --guide: this one is unconditional"
            )
        elif o.cfg_scale != 1 and not getattr(config, "null_class", True):
            raise ValueError(
                f"--cfg-scale {o.cfg_scale:g} needs a network that was also trained without classes, which this one "
                f"was not: give a --classifier or a --guide"
            )
        if self.classifier is not None:
            judge = self.classifier.config
            if (judge.height, judge.width, judge.channels) != (config.height, config.width, config.channels):
                why = "it judges pictures of another size or number of channels than the network makes"
                raise ValueError(f"--classifier {o.classifier}: {why}: take another classifier")
            if config.classes and judge.classes != config.classes:
                why = f"it knows {judge.classes} classes, but the network {config.classes}"
                raise ValueError(f"--classifier {o.classifier}: {why}: take another classifier")
            if judge.latent != config.latent:
                why = "one of them is of latents, or of other latents"
                raise ValueError(f"--classifier {o.classifier}: {why}: take another classifier")
            if _noise(judge) != _noise(config):
                why = "it was trained with another noise than the network"
                raise ValueError(f"--classifier {o.classifier}: {why}: take another classifier")

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(iter(self.network.parameters())).device

    def requests(self, seeds: Sequence[int], label: int | None = None) -> list[Request]:
        """A request for each seed; without a label its class is that of the seed among the learned classes."""
        return [Request(f"seed{seed:04d}", class_of(seed, label, self.learned), SeedStream(seed)) for seed in seeds]

    def sample(self, requests: Sequence[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures of requests, uint8 [C, H, W] on the sampler's device, one after another."""
        return self.pictures((self.latents([request])[0] for request in requests), requests, at_once)

    def pictures(self, ws: Iterable[Tensor], requests: Iterable[Request], at_once: int = 1) -> Iterator[Tensor]:
        """The pictures of noise [C * H * W] and the requests' classes, uint8 [C, H, W], made as they are asked for."""
        pairs = zip(ws, requests, strict=True)
        while chunk := list(islice(pairs, at_once)):
            images = self.render(torch.stack([w for w, _ in chunk]), [request for _, request in chunk])
            yield from to_pixels(images, rounding="nearest")

    def latents(self, requests: Sequence[Request]) -> Tensor:
        """The noise that pictures begin as, normal [N, C * H * W]."""
        H, W, C, _ = self.noisy
        return torch.stack([request.stream.normal(C, H, W).flatten() for request in requests]).to(self.device)

    def map(self, z: Tensor, requests: Sequence[Request]) -> Tensor:
        """The noise itself: paths between pictures are great circles of it."""
        return z

    def render(self, ws: Tensor, requests: Sequence[Request]) -> Tensor:
        """Noise [N, C * H * W] -> images [N, C, H, W], about [-1, 1], of the requests' classes."""
        *_, last = self.way(ws, requests)
        return self._shown(last)

    def emerging(self, request: Request) -> Iterator[tuple[float, Tensor]]:
        """Share of the steps done and the picture after each, uint8 [C, H, W]; a codec decodes the last one alone."""
        for step, x in enumerate(self.way(self.latents([request]), [request]), start=1):
            image = self._shown(x) if self.codec is None or step == len(self.process) else false_colors(x)
            yield step / len(self.process), to_pixels(image, rounding="nearest")[0]

    def with_options(self, options: DenoisingOptions) -> Self:
        """A sampler of the same networks with other options. Raises ValueError for options that do not fit them."""
        other = copy.copy(self)
        other.options = options
        other._check()
        other.process = steps_of(other.network.config, options.steps).to(other.device)
        return other

    def run_by(self, engine: Callable[[ExportGraph], Run]) -> Self:
        """A sampler of the same network, which `engine` computes; PyTorch computes the guide, classifier and codec."""
        run = engine(graph_of(self.network, "denoiser", {"denoiser": configs.to_dict(self.network.config)}))
        other = copy.copy(self)
        other.run = lambda x, t, c: run({"x": x, "t": t} | ({} if c is None else {"c": c}))
        return other

    def _shown(self, last: Tensor) -> Tensor:
        if self.codec is not None:
            return self.codec.decode(last)
        return last if self.network.config.latent is None else false_colors(last)

    @torch.no_grad()
    def way(self, ws: Tensor, requests: Sequence[Request]) -> Iterator[Tensor]:
        """The pictures, or latents, after every step, [N, C, H, W]."""
        o, network = self.options, self.network
        x = ws.reshape(-1, self.noisy.channels, self.noisy.height, self.noisy.width).to(self.device)
        labels = self._labels(requests)
        c = labels if self.null else None
        guidance = Guidance(o.cfg_scale, o.interval, o.cfg_channels, self.guide)
        if self.classifier is not None:
            guidance = replace(guidance, classifier=self.classifier, classifier_scale=o.classifier_scale)
        denoise = denoiser(
            self.run or network,
            c,
            self.null,
            self.process,
            network.config.noise.objective,
            guidance,
            clip=network.config.latent is None and network.config.noise.objective in CLIPPED,
            led_to=labels,
        )
        streams = [request.stream.generator("noise", self.device) for request in requests]

        def noise(step: int) -> Tensor:
            return torch.stack([torch.randn(x.shape[1:], device=self.device, generator=each) for each in streams])

        with fixed_weights(self.run or network, self.guide):
            yield from self.solve(denoise, x, self.process, noise)

    @property
    def solve(self) -> Solver:
        """The solver with its settings."""
        return solver(self.options.solver, **({"eta": self.options.eta} if self.options.solver == "ddim" else {}))

    def _labels(self, requests: Sequence[Request]) -> Tensor | None:
        """Class numbers [N]; None without classes."""
        classes = self.shape.classes
        if not classes:
            return None
        labels = [classes if request.label is None else request.label for request in requests]
        most = classes if self.classifier is None else classes - 1  # a classifier leads to a class
        for label in labels:
            if not 0 <= label <= most:
                raise ValueError(f"class {label}: this network has {classes} classes, counted from 0")
        return torch.tensor(labels, device=self.device)


def steps_of(config: DenoiserConfig, steps: int) -> Process:
    """The levels that pictures in so many steps visit, evenly from the noisiest to the least noisy."""
    if config.noise.objective == "flow":
        return Process.straight(torch.arange(1, steps + 1, dtype=torch.float64, device="cpu") / steps)
    process = config.noise.process()
    return process.respaced(kept_steps(str(steps), len(process)))


def check_alike(guide: DenoisingNetwork, config: DenoiserConfig, place: str) -> None:
    """Raise ValueError unless a guide predicts the same of the same pictures."""
    for name in ("height", "width", "channels", "classes", "latent"):
        own, other = getattr(config, name), getattr(guide.config, name)
        if own != other:
            what = f"number of {name}" if name in ("channels", "classes") else name
            raise ValueError(f"--guide {place}: its {what} is {other}, but the network's is {own}: take another guide")
    if guide.config.noise != config.noise:
        why = "it was trained with another noise or objective than the network"
        raise ValueError(f"--guide {place}: {why}: take another guide")


def is_denoiser(network: Any) -> bool:
    """Whether a network predicts what noise hides."""
    return isinstance(network.config, DenoiserConfig)


def _noise(config: NoisyConfig) -> str:
    """The levels that a network knows."""
    return "flow" if config.noise.objective == "flow" else config.noise.schedule


def open_denoising(
    networks: Mapping[str, Any], options: DenoisingOptions, metadata: Mapping[str, Any]
) -> DenoisingSampler:
    """A sampler of the shown network, and of those that the options name; ValueError if they do not fit."""
    guide, classifier = networks.get("guide"), networks.get("classifier")
    network = next(network for name, network in networks.items() if name not in ("guide", "classifier"))
    if guide is not None and not is_denoiser(guide):
        raise ValueError(f"--guide {options.guide}: it does not denoise pictures: take another network")
    if classifier is not None and (not isinstance(classifier.config, NoisyConfig) or is_denoiser(classifier)):
        why = "it is no classifier of noisy pictures"
        raise ValueError(f"--classifier {options.classifier}: {why}: take one of train.py --model noise-classifier")
    codec = open_codec(options.codec, next(iter(network.parameters())).device) if options.codec else None
    if network.config.latent is not None and codec is None:
        raise ValueError("the network makes latents: give --codec, the folder of the AutoencoderKL that encoded them")
    return DenoisingSampler(network, options, metadata, guide, classifier, codec)
