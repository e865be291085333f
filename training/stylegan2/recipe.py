"""StyleGAN2 in training: its networks, phases and losses."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imaging.pixels import to_images, to_pixels
from models.stylegan2.choices import StyleOptions
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.sampler import StyleSampler
from torch_utils import distributed, seeds
from training.augment.chances import Drawn, Strength
from training.augment.pipeline import Augmentation
from training.phase import Phase, Term
from training.recipe import Average, Change, Draws, Pictures, Recipe, placed
from training.sheet import Sheet
from training.stylegan2 import losses as gan_losses
from training.stylegan2.config import StyleGAN2Config

AT_ONCE = 2**16  # pixels of a sheet computed together: many small pictures take no more memory than a few large ones


class Reals(NamedTuple):
    """Real images [n, C, H, W] in [-1, 1] and their classes, one-hot [n, classes] (None without classes)."""

    images: Tensor
    c: Tensor | None


class Passes(NamedTuple):
    """The forward passes of the losses: the networks' own, or compiled."""

    map: Callable[[Tensor, Tensor | None], Tensor]  # z [N, z_dim], c -> w [N, w_dim]
    render: Callable[[Tensor, list[Tensor | None]], Tensor]  # ws [N, L, w_dim], noises -> images
    score: Callable[[Tensor, Tensor | None], Tensor]  # images, c -> scores [N, 1]


class StyleGAN2(Recipe):
    """The recipe of Karras et al. 2020, with the lazy regularization, averages and schedule of StyleGAN2-ADA.

    `frequencies` are the images of each class, [classes]; empty without classes.
    """

    added = frozenset({"strength"})  # the first versions had no augmentations

    def __init__(self, config: StyleGAN2Config, frequencies: Tensor, device: torch.device) -> None:
        self.config = config
        self.relativistic = config.loss.kind == "rpgan"
        # Summed on the CPU: a CUDA device sums in no fixed order.
        self.classes = torch.arange(len(frequencies), device=device)
        self.thresholds = frequencies.cpu().to(torch.float32).cumsum(0).to(device)
        self.G = placed(Generator(config.generator).set_precision(config.arithmetic), device)
        self.D = placed(Discriminator(config.discriminator).set_precision(config.arithmetic), device)
        self.G.synthesis.recompute = self.D.recompute = config.checkpoint_activations
        distributed.broadcast_([*self.G.state_dict().values(), *self.D.state_dict().values()])
        average = config.average
        self.averages = [Average(self.G, average.kimg * 1000, average.ramp)]
        self.G_ema = self.averages[0].network  # samples are made with it
        self.plain = Passes(self.G.mapping, self.G.synthesis.render, self.D)
        self.passes = self.plain  # for phases of first order
        self.layers = torch.arange(self.G.synthesis.num_ws, device=device)
        self.path_mean = torch.zeros([], device=device)
        self.strength = Strength(config.augment, config.pace.batch, device)
        G = config.generator
        self.augment = Augmentation(config.augment.transformations, G.height, G.width, device)
        self.networks: dict[str, nn.Module] = {"G_ema": self.G_ema, "G": self.G, "D": self.D}
        self.phases = self._phases()
        self.optimizers = {"G": self.phases[0].optimizer, "D": self.phases[-1].optimizer}  # of all phases of a network

    def _phases(self) -> list[Phase]:
        o, betas = self.config.optimizer, (self.config.optimizer.beta1, self.config.optimizer.beta2)
        frozen = {id(p) for layer in self.D.layers[: o.freeze_d] for p in layer.parameters()}  # Mo et al. 2020
        learning = [p for p in self.D.parameters() if id(p) not in frozen]
        adam_G = adam(self.G.parameters(), o.g_lr, betas, o.epsilon, o.g_interval)
        adam_D = adam(learning, o.d_lr, betas, o.epsilon, o.d_interval)
        phases = [Phase("Gmain", self.G, adam_G, reads_images=self.relativistic, first_order=True)]
        if self.config.loss.path_weight:
            phases.append(Phase("Gpath", self.G, adam_G, interval=o.g_interval))
        pairs = self.relativistic
        terms = 1 if pairs else 2
        phases.append(Phase("Dmain", self.D, adam_D, reads_images=True, terms=terms, first_order=True))
        if self.config.loss.gamma:
            name, terms = ("Dr1r2", 2) if pairs else ("Dr1", 1)
            phases.append(Phase(name, self.D, adam_D, interval=o.d_interval, reads_images=True, terms=terms))
        return phases

    def judged(self) -> StyleSampler:
        """The pictures that metrics judge: of the averaged generator, psi 1, random noise."""
        return StyleSampler(self.G_ema, StyleOptions(noise_mode="random"))

    def batch(self, *sets: Pictures) -> Reals:
        """Images in [-1, 1] and one-hot classes."""
        ((pixels, labels),) = sets
        return Reals(to_images(pixels), self._one_hot(labels))

    @torch.no_grad()
    def show(self, sheet: Sheet) -> Iterator[Tensor]:
        """The pictures of a sheet, by the averaged generator, with constant noise and without truncation."""
        G, device = self.config.generator, self.path_mean.device
        z = torch.randn(len(sheet.labels), G.z_dim, generator=seeds.generator("cpu", sheet.seed, "sample sheet"))
        c = self._one_hot(torch.tensor(sheet.labels, device=device))
        at_once = max(self.config.pace.batch_gpu, AT_ONCE // (G.height * G.width))
        for start in range(0, len(z), at_once):
            part = slice(start, start + at_once)
            images = self.G_ema(z[part].to(device), None if c is None else c[part], noise_mode="const")
            yield from to_pixels(images, rounding="nearest").cpu()

    def use_passes(self, change: Change | None) -> None:
        self.passes = self.plain if change is None else Passes(*(change(each) for each in self.plain))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Losses computed within the block leave the average of w and the strength of augmentations unchanged."""
        average = self.G.mapping.w_average.clone()
        yield
        self.G.mapping.w_average.copy_(average)
        self.strength.new.zero_()

    def losses(self, phase: Phase, reals: Reals | None, draws: Draws) -> Iterator[Term]:
        """Yield the terms of one phase, each computed when it is asked for."""
        terms: dict[str, Callable[..., Iterator[Term]]] = {
            "Gmain": self._generator_terms,
            "Gpath": self._path_terms,
            "Dmain": self._discriminator_terms,
        }
        return terms.get(phase.name, self._penalty_terms)(reals, draws)

    def _generator_terms(self, reals: Reals | None, draws: Draws) -> Iterator[Term]:
        images, c = self._made(self.passes, draws, reals.c if reals and self.relativistic else None)
        scores = self._scored(self.passes, images, c, draws, "fake")
        if reals and self.relativistic:
            with torch.no_grad():
                real = self._scored(self.passes, reals.images, c, draws, "real")
            loss = gan_losses.relativistic_loss(scores, real).mean()
        else:
            loss = gan_losses.generator_loss(scores).mean()
        yield loss, _of_scores("fake G", scores) | {"loss/G": loss}

    def _path_terms(self, reals: None, draws: Draws) -> Iterator[Term]:
        loss = self.config.loss
        count = max((draws.stop - draws.start) // loss.path_shrink, 1)
        ws = self._ws(self.plain, draws, count)[0]
        images = self._synthesize(self.plain, ws, draws)
        lengths = gan_losses.path_lengths(images, ws, draws.normal("path", images.shape))
        mean = gan_losses.path_length_mean(self.path_mean, distributed.mean(lengths.mean()), loss.path_decay)
        penalty = gan_losses.path_penalty(lengths, mean)
        # An overflow costs one step. Kept in the mean, it would cost all steps.
        self.path_mean = torch.where(mean.isfinite(), mean, self.path_mean).detach()
        reports = {"path/penalty": penalty, "path/length": lengths, "loss/G path": penalty * loss.path_weight}
        yield penalty.mean() * loss.path_weight, reports

    def _discriminator_terms(self, reals: Reals, draws: Draws) -> Iterator[Term]:
        images, c = self._fakes(self.passes, draws, reals.c if self.relativistic else None)
        fake = self._scored(self.passes, images, c, draws, "fake")
        if not self.relativistic:
            loss = gan_losses.discriminator_fake_loss(fake).mean()
            yield loss, _of_scores("fake", fake) | {"loss/D fake": loss}
            del images, fake, loss
        real = self._scored(self.passes, reals.images, reals.c, draws, "real")
        if self.relativistic:
            loss, margin = gan_losses.relativistic_loss(real, fake).mean(), real - fake
            reports = _of_scores("fake", fake) | {"margin": margin, "loss/D pair": loss}
        else:
            loss, margin = gan_losses.discriminator_real_loss(real).mean(), real
            reports = {"loss/D real": loss}
        self.strength.observe(margin.detach())  # a pair's loss depends on the difference only
        reports |= {"augment/p": self.strength.p} if self.config.augment.mode != "none" else {}
        yield loss, reports | _of_scores("real", real)

    def _penalty_terms(self, reals: Reals, draws: Draws) -> Iterator[Term]:
        yield self._penalty("r1", *reals, draws, "real")
        if self.relativistic:
            yield self._penalty("r2", *self._fakes(self.plain, draws, reals.c), draws, "fake")

    def _penalty(self, name: str, images: Tensor, c: Tensor | None, draws: Draws, purpose: str) -> Term:
        """gamma / 2 times the mean gradient penalty."""
        images = images.detach().requires_grad_(True)
        penalty = gan_losses.gradient_penalty(images, self._scored(self.plain, images, c, draws, purpose))
        loss = penalty.mean() * (self.config.loss.gamma / 2)
        return loss, {f"{name}/penalty": penalty, f"loss/D {name}": loss}

    def _made(self, passes: Passes, draws: Draws, c: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Generated images and their classes: `c`, those of the reals that they are paired with, or drawn."""
        ws, c = self._ws(passes, draws, c=c)
        return self._synthesize(passes, ws, draws), c

    _fakes = torch.no_grad()(_made)  # for D

    def _scored(self, passes: Passes, images: Tensor, c: Tensor | None, draws: Draws, purpose: str) -> Tensor:
        """D's scores [n, 1] of images, augmented like all that D sees; `purpose` keys the draws."""
        if self.config.augment.mode != "none":
            images = self.augment(images, self.strength.p, Drawn(draws, purpose))
        return passes.score(images, c)

    def _ws(
        self, passes: Passes, draws: Draws, count: int | None = None, c: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """w for every layer [n, L, D] of the first `count` latents, with style mixing, and `c`, drawn if not given."""
        mapping, num_ws = self.G.mapping, self.G.synthesis.num_ws
        if c is None and len(self.classes):
            c = self._one_hot(draws.classes("class", self.thresholds)[:count])
        w = passes.map(draws.latents("z", mapping.z_dim)[:count], c)
        mapping.update_average(distributed.mean(w.detach().mean(dim=0, keepdim=True)), self.config.average.w_beta)
        ws = w[:, None].expand(-1, num_ws, -1)
        cut = draws.crossover(num_ws, self.config.loss.mixing)
        if isinstance(cut, int) and cut == num_ws:
            return ws, c
        other = passes.map(draws.latents("z mixed", mapping.z_dim)[:count], c)
        if isinstance(cut, int):
            return torch.cat([ws[:, :cut], other[:, None].expand(-1, num_ws - cut, -1)], dim=1), c
        return torch.where(self.layers[None, :, None] < cut, ws, other[:, None]), c

    def _synthesize(self, passes: Passes, ws: Tensor, draws: Draws) -> Tensor:
        synthesis, mode = self.G.synthesis, self.config.loss.noise
        if mode != "random":
            return passes.render(ws.contiguous(), synthesis.noises(ws.shape[0], mode, None))
        maps = draws.pictures("noise", [(ws.shape[0], 1, *layer.noise.fixed.shape) for layer in synthesis.layers])
        noises = [noise * layer.noise.strength for noise, layer in zip(maps, synthesis.layers, strict=True)]
        return passes.render(ws.contiguous(), [*noises])

    def _one_hot(self, labels: Tensor) -> Tensor | None:
        return (labels[:, None] == self.classes).float() if len(self.classes) else None

    def after_step(self, seen: int) -> None:
        """Update averages and the strength of augmentations; `seen` counts the images before this iteration."""
        super().after_step(seen)
        self.strength.adjust(seen)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"path_mean": self.path_mean, "strength": dict(self.strength.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.path_mean = state["path_mean"].to(self.path_mean.device, copy=True)
        if "strength" in state:
            self.strength.load_state_dict(state["strength"])

    def check_state(self, state: Any, begun: bool) -> None:
        super().check_state(state, begun)
        if "strength" in state:
            p, signs = state["strength"]["p"], state["strength"]["signs"]
            if not (0 <= float(p) <= 1 and bool(signs.isfinite().all())):
                raise ValueError("recipe.strength is not a probability and two finite numbers")


def _of_scores(name: str, scores: Tensor) -> dict[str, Tensor]:
    return {f"scores/{name}": scores, f"signs/{name}": scores.sign()}


def adam(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], epsilon: float, interval: int
) -> torch.optim.Adam:
    """Adam for parameters that are regularized in a step of their own every `interval` iterations; 0 for none.

    Such parameters take interval + 1 steps in `interval` iterations. With r = interval / (interval + 1), the learning
    rate is multiplied by r and each beta raised to the power r, so that Adam's memory, in iterations, is that of one
    step an iteration (lazy regularization, Karras et al. 2020, appendix B).
    """
    r = interval / (interval + 1) if interval else 1.0
    learning = list(parameters)
    fused = not learning[0].is_meta  # parameters without memory are never stepped
    return torch.optim.Adam(learning, lr=lr * r, betas=(betas[0] ** r, betas[1] ** r), eps=epsilon, fused=fused)
