"""Denoising networks in training: one phase, in which a network learns what the noise of a picture hides."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.pixels import to_images
from models.adm.blocks import Dropout
from models.adm.network import NoisyClassifier, UNet
from models.diffusion.config import NoiseConfig
from models.diffusion.likelihood import Losses, flat_mean, losses
from models.diffusion.parts import AVERAGES
from models.diffusion.prediction import target
from models.diffusion.process import STEPS, Process
from models.diffusion.sampler import DenoisingSampler
from models.dit.network import DiT
from models.sampler import Request, SeedStream
from torch_utils import distributed, seeds
from torch_utils.stats import Some
from training.course import Facts
from training.diffusion.config import ClassifierRun, DenoisingConfig, DiffusionConfig, DiTRun, LevelsConfig
from training.phase import Phase, Term, decay_groups, warm_up
from training.recipe import Average, Change, Draws, Pictures, Recipe, placed
from training.sheet import Sheet

BUCKETS = 5  # shares of the noise levels whose losses are reported by themselves
AT_ONCE = 2**16  # pixels of a sheet computed together


class Labeled(NamedTuple):
    """Images [n, C, H, W] in [-1, 1], or latents [n, 2, C, H, W], and their class numbers, int64 [n]."""

    images: Tensor
    labels: Tensor


def bucket_names(kind: str) -> list[str]:
    """The statistics of the shares of noise levels, from little noise to much."""
    return [f"{kind}/noise {100 * i // BUCKETS}-{100 * (i + 1) // BUCKETS} %" for i in range(BUCKETS)]


def draw_levels(noise: NoiseConfig, loss: LevelsConfig, whole: Process, draws: Draws) -> tuple[Process, Tensor]:
    """The noise levels of a batch: a process, and the index of each sample's level in it.

    For flow every sample has a level of its own, its logit normally distributed (Esser et al. 2024, section 3.1), or
    uniform; otherwise one of the whole process, all alike.
    """
    if noise.objective != "flow":
        share = draws.uniforms("t")
        return whole, (share * len(whole)).long().clamp(max=len(whole) - 1)
    if loss.times == "uniform":
        levels = draws.uniforms("t")
    else:
        levels = torch.sigmoid(loss.location + loss.spread * draws.latents("t"))
    levels = levels.clamp(1e-5, 1)
    return Process.straight(levels), torch.arange(len(levels), device=levels.device)


class Learning(Recipe):
    """What denoisers and classifiers of noisy pictures share: one network, its averages, one phase.

    Args:
        config: the resolved configuration.
        network: in float32, on any device.
        facts: of the images.
        device: where to compute.
    """

    def __init__(self, config: DiffusionConfig, network: Any, facts: Facts, device: torch.device) -> None:
        self.config, self.device, self.sets = config, device, facts.sets
        network.recompute = config.checkpoint_activations
        self.network = placed(network.set_precision(config.arithmetic), device)
        distributed.broadcast_(list(self.network.state_dict().values()))
        average, o = config.average, config.optimizer
        self.averages = [Average(self.network, half * 1000, average.ramp) for half in average.kimg]
        fused = not next(self.network.parameters()).is_meta
        groups = decay_groups(self.network, o.weight_decay)
        adamw = torch.optim.AdamW(groups, o.lr, betas=(o.beta1, o.beta2), eps=o.epsilon, fused=fused)
        rate = warm_up(round(1000 * o.warm_up))
        phase = Phase("denoise", self.network, adamw, reads_images=True, rate=rate, clip=o.clip, first_order=True)
        self.phases = [phase]
        self.networks: dict[str, nn.Module] = {
            **{name: one.network for name, one in zip(AVERAGES, self.averages, strict=False)},
            "net": self.network,
        }
        self.optimizers = {"net": adamw}
        self.whole = config.network.noise.process().to(device)
        self.forward: Callable[..., Tensor] = self.network  # or compiled
        self.dropouts = [module for module in self.network.modules() if isinstance(module, Dropout) and module.p]

    def batch(self, *sets: Pictures) -> Labeled:
        """Images in [-1, 1], or means and deviations of latents."""
        ((pixels, labels),) = sets
        images = to_images(pixels) if pixels.dtype == torch.uint8 else pixels.float()
        if self.config.latent is not None and images.ndim == 4:  # of a dry run, which has pixels for all models
            images = torch.stack([images, torch.ones_like(images)], 1)
        return Labeled(images, labels)

    def drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """The images; of means and deviations [n, 2, C, H, W] new latents, scaled [n, C, H, W]."""
        if (latent := self.config.latent) is None:
            return images
        mean, deviation = images.unbind(1)
        return (mean + deviation * draws.latents("latent", *mean.shape[1:]) - latent.shift) * latent.scale

    def use_passes(self, change: Change | None) -> None:
        """Put `change(network)` in place of the network; None restores it."""
        self.forward = self.network if change is None else change(self.network)

    def noised(self, images: Tensor, draws: Draws) -> tuple[Process, Tensor, Tensor, Tensor]:
        """A process, the level of each image in it [n], what the network is told of it [n], and the noise."""
        config = self.config
        process, k = draw_levels(config.network.noise, config.loss, self.whole, draws)
        for i, layer in enumerate(self.dropouts):
            layer.seed = seeds.derive(draws.seed, draws.iteration, "dropout", draws.start, i)
        noise = draws.latents("noise", *images.shape[1:])
        return process, k, process.t[k].to(torch.float32), noise

    def by_level(self, kind: str, values: Tensor, t: Tensor) -> dict[str, Any]:
        """Values of each sample, reported for each share of the noise levels."""
        level = (t / STEPS * BUCKETS).long().clamp(0, BUCKETS - 1)
        return {name: Some(values, level == i) for i, name in enumerate(bucket_names(kind))}


class Denoising(Learning):
    """A denoising network in training.

    Args:
        config: the resolved configuration.
        facts: of the images.
        device: where to compute.
    """

    config: DenoisingConfig

    def __init__(self, config: DenoisingConfig, facts: Facts, device: torch.device) -> None:
        network = DiT(config.denoiser) if isinstance(config, DiTRun) else UNet(config.network)  # type: ignore[arg-type]
        super().__init__(config, network, facts, device)

    def losses(self, phase: Phase, batch: Labeled, draws: Draws) -> Iterator[Term]:
        """The error of the prediction for pictures at random noise levels, of which some are shown without class."""
        images = self.drawn(batch.images, draws)
        process, k, t, noise = self.noised(images, draws)
        c, classes = None, self.config.network.classes
        if classes:
            dropped = draws.uniforms("class") < self.config.loss.label_dropout
            c = torch.where(dropped, torch.full_like(batch.labels, classes), batch.labels)
        output = self.forward(process.noised(images, k, noise), t, c)
        objective, kind = self.config.network.noise.objective, self.config.loss.kind
        found: Losses = losses(output.float(), images, noise, k, process, objective, kind)
        wanted = target(images, noise, k, process, objective)
        share = found.mse / flat_mean(wanted.square())
        reports = {"loss/denoise": found.loss, "loss/share": share, **self.by_level("loss", found.mse, t)}
        if found.vb is not None:
            reports["loss/bound"] = found.vb
        yield found.loss.mean(), reports

    def judged(self) -> DenoisingSampler:
        """The pictures that metrics judge: of the first average, as the section `sampling` says."""
        dataset = self.sets.get("data")
        codec: Any = None if dataset is None else dataset.decoder
        return DenoisingSampler(self.averages[0].network, self.config.sampling.options(), codec=codec)

    def show(self, sheet: Sheet) -> Iterator[Tensor]:
        """The pictures of a sheet, by the first average."""
        network = self.config.network
        first = seeds.derive(sheet.seed, "sample sheet") % 2**31
        classes = network.classes
        requests = [
            Request("", label if classes else None, SeedStream(first + i)) for i, label in enumerate(sheet.labels)
        ]
        at_once = max(self.config.pace.batch_gpu, AT_ONCE // (network.height * network.width))
        for pixels in self.judged().sample(requests, at_once):
            yield pixels.cpu()


class Classifying(Learning):
    """A classifier of noisy pictures in training (Dhariwal and Nichol 2021, section 4.1).

    Args:
        config: the resolved configuration.
        facts: of the images.
        device: where to compute.
    """

    config: ClassifierRun

    def __init__(self, config: ClassifierRun, facts: Facts, device: torch.device) -> None:
        super().__init__(config, NoisyClassifier(config.classifier), facts, device)

    def losses(self, phase: Phase, batch: Labeled, draws: Draws) -> Iterator[Term]:
        """The cross-entropy of the classes of pictures at random noise levels."""
        images = self.drawn(batch.images, draws)
        process, k, t, noise = self.noised(images, draws)
        logits = self.forward(process.noised(images, k, noise), t).float()
        loss = F.cross_entropy(logits, batch.labels, reduction="none")
        right = (logits.argmax(1) == batch.labels).float()
        share = loss / math.log(max(self.config.classifier.classes, 2))  # of the loss of a guess
        reports = {"loss/classify": loss, "loss/share": share, "right": right}
        yield loss.mean(), reports | self.by_level("right", right, t)
