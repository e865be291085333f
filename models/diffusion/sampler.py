"""Pictures of a denoising network: seed -> noise -> step by step a picture -> pixels.

On a CPU a seed must give the same bytes whatever other seeds are made with it, so callers compute one picture at a time
there (`at_once=1`).
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor

from imaging.pixels import false_colors, to_pixels
from models.compute import fixed_weights
from models.diffusion.codec import Codec, open_codec
from models.diffusion.config import DenoiserConfig, NoisyConfig
from models.diffusion.guidance import Guidance, denoiser
from models.diffusion.process import STEPS, Process, kept_steps
from models.diffusion.solvers import RANDOM, Solver, solver
from models.sampler import Options, Request, SeedStream, Shape, class_of, learned_classes
from torch_utils.config import flag
from torch_utils.device import Precision

Solvers = Literal["ddpm", "ddim", "euler", "heun", "dpm2m"]
CLIPPED = ("eps", "x0", "v")  # objectives whose predicted pictures, never latents, are limited to [-1, 1] as in ADM

_STEPS = "number of steps from noise to picture: more steps take longer and follow the network more exactly"
_SOLVER = "how steps are computed: dpm2m needs the fewest, heun calls the network twice a step, ddpm adds new noise"
_ETA = "with --solver ddim: new noise in each step, from 0 (none) to 1 (as much as ddpm)"
_SCALE = "classifier-free guidance: 1 is none; larger values show the class more clearly, with less variety"
_INTERVAL = "noise levels at which --cfg-scale applies, from 0 (no noise) to 1 (only noise), such as 0.2:0.8"
_CHANNELS = "channels to which --cfg-scale applies; without it all; 3 (of 4) reproduces DiT's published samples"
_GUIDE = "autoguidance: a weaker network for the same pictures; --cfg-scale leads away from what it predicts"
CODEC = "folder of the AutoencoderKL that decodes latents to pictures"
_CLASSIFIER = "classifier guidance: a network of train.py --model noise-classifier, trained on the same pictures"


class DenoisingOptions(Options):
    """Solver and guidance."""

    steps: int = flag(50, "--steps", "Pictures", _STEPS, slider=(1, 100), draft=8, ge=1, le=STEPS)
    solver: Solvers = flag("dpm2m", "--solver", "Pictures", _SOLVER)
    eta: float = flag(0.0, "--eta", "Pictures", _ETA, slider=(0, 1), ge=0, le=1)
    cfg_scale: float = flag(1.0, "--cfg-scale", "Pictures", _SCALE, slider=(1, 8), ge=0, le=100)
    cfg_interval: str = flag("0:1", "--cfg-interval", "Pictures", _INTERVAL, slider=(0, 1))
    cfg_channels: int | None = flag(None, "--cfg-channels", "Pictures", _CHANNELS, slider=(1, 4), ge=1)
    guide: str = flag("", "--guide", "Pictures", _GUIDE, opens=True)
    classifier: str = flag("", "--classifier", "Pictures", _CLASSIFIER, opens=True)
    codec: str = flag("", "--codec", "Pictures", CODEC)
    classifier_scale: float = flag(
        1.0, "--classifier-scale", "Pictures", "strength of --classifier", slider=(0, 10), ge=0, le=1000
    )

    @field_validator("cfg_interval")
    @classmethod
    def _two_shares(cls, text: str) -> str:
        found = re.fullmatch(r"\s*([0-9.]+)\s*:\s*([0-9.]+)\s*", text)
        try:
            low, high = (float(part) for part in found.groups()) if found else (1.0, 0.0)
        except ValueError:
            low, high = 1.0, 0.0
        if not 0 <= low < high <= 1:
            raise ValueError(f"got {text!r}, expected two shares from 0 to 1, the smaller one first, as in 0.2:0.8")
        return f"{low:g}:{high:g}"

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        if self.eta and self.solver != "ddim":
            raise ValueError(f"--eta applies to --solver ddim, not to {self.solver}: leave it out")
        asked = {
            "--guide": self.guide,
            "--cfg-interval": self.cfg_interval != "0:1",
            "--cfg-channels": self.cfg_channels,
        }
        for name, given in asked.items():
            if given and self.cfg_scale == 1:
                raise ValueError(f"{name} has no effect with --cfg-scale 1: give a larger --cfg-scale, such as 2")
        if self.classifier_scale != 1 and not self.classifier:
            raise ValueError("--classifier-scale does not apply without --classifier: leave it out")
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """The guided noise levels, as shares."""
        low, high = self.cfg_interval.split(":")
        return float(low), float(high)

    def check_still(self) -> None:
        """Raise ValueError unless the first noise alone decides a picture."""
        if self.solver in RANDOM:
            raise ValueError(f"--solver {self.solver} draws noise in every step: films need ddim, euler, heun or dpm2m")
        if self.eta:
            raise ValueError(f"--eta {self.eta:g} draws noise in every step, which films do without: leave it out")


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
            network,
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

        with fixed_weights(network, self.guide):
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
