"""Mistakes that tutorials make, put into our code one by one: named recorded numbers tell each, by far."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import conditioning
from models.adm import blocks
from models.adm import network as adm
from models.diffusion import layers, likelihood, prediction, solvers
from models.diffusion.process import Process, at
from models.dit import network as dit
from tests.parity import test_diffusion, test_dit, test_unet
from tests.parity.recorded import error

DOUBLE = torch.float64
FAR = 1e-7  # the comparisons tolerate less

Computed = Callable[[], Iterator[tuple[str, Tensor]]]
Mistake = Callable[[pytest.MonkeyPatch], None]


def of_dit() -> Iterator[tuple[str, Tensor]]:
    """Entries of the transformer: embeddings, one forward pass, its guidance."""
    net, x = test_dit.network(DOUBLE), test_dit.RECORDED["x"].to(DOUBLE)
    with torch.no_grad():
        yield from test_dit.embeddings(net, DOUBLE)
        yield "forward", net(x, test_dit.RECORDED["t"], test_dit.RECORDED["y"])
        t, y = test_dit.RECORDED["cfg/t"], test_dit.RECORDED["cfg/y"]
        yield "cfg/scale1.5", test_dit.guided_pair(net, x, t, y, 1.5)


def of_unet() -> Iterator[tuple[str, Tensor]]:
    """Entries of the U-Net: blocks by themselves, one network, the classifier."""
    yield from test_unet.modules(DOUBLE)
    with torch.no_grad():
        for name in test_unet.CONFIG["nets"]:
            net, x = test_unet.unet(name, DOUBLE), test_unet.RECORDED[f"{name}/x"].to(DOUBLE)
            yield (
                f"{name}/forward",
                net(x, test_unet.RECORDED["t"], test_unet.RECORDED["y"] if net.config.classes else None),
            )
        logits = test_unet.classifier("attention", DOUBLE)(
            test_unet.RECORDED["classifier/x"].to(DOUBLE), test_unet.RECORDED["t"]
        )
    yield "classifier/attention/logits", logits


def of_diffusion() -> Iterator[tuple[str, Tensor]]:
    """All entries without a network."""
    yield from test_diffusion.ours.__wrapped__(DOUBLE).items()


RECORDED = {of_dit: test_dit.RECORDED, of_unet: test_unet.RECORDED, of_diffusion: test_diffusion.RECORDED}
FORWARDS = tuple(f"{name}/forward" for name in test_unet.CONFIG["nets"])


def sinusoid(order: tuple[int, int] = (0, 1), less: int = 0) -> Callable[[Tensor, int], Tensor]:
    """The waves of a time with another order of cos and sin, or frequencies over half - `less`."""

    def waves(t: Tensor, width: int) -> Tensor:
        half = width // 2
        angles = t[:, None].float() * torch.exp(-math.log(10000.0) * torch.arange(half).float() / (half - less))
        both = (angles.cos(), angles.sin())
        return F.pad(torch.cat([both[i] for i in order], dim=1), (0, width % 2))

    return waves


def exchange(places: list[tuple[Any, str]], value: Any) -> Mistake:
    """Put one value into several places."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        for owner, name in places:
            patch.setattr(owner, name, value)

    return apply


def waves(**how: Any) -> Mistake:
    return exchange([(layers, "sinusoid"), (adm, "sinusoid")], sinusoid(**how))


def positions_swapped(patch: pytest.MonkeyPatch) -> None:
    right = layers.positions

    def swapped(height: int, width: int, channels: int) -> Tensor:
        column, row = right(height, width, channels).chunk(2, dim=1)
        return torch.cat([row, column], dim=1)

    exchange([(layers, "positions"), (dit, "positions")], swapped)(patch)


def unpatchify_channel_first(self: dit.DiT, tokens: Tensor) -> Tensor:
    (rows, columns), p = self.config.grid, self.config.patch
    patches = tokens.reshape(len(tokens), rows, columns, -1, p, p)
    return torch.einsum("nhwcpq->nchpwq", patches).reshape(len(tokens), -1, rows * p, columns * p)


def chunks(order: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Mistake:
    """Heads whose chunks are read in another order."""
    right = conditioning.ModulationHead.steer

    def steer(self: conditioning.ModulationHead, condition: Tensor) -> list[conditioning.Steering]:
        before, self.order = self.order, order(self.order)  # type: ignore[assignment]
        try:
            return right(self, condition)
        finally:
            self.order = before

    return exchange([(conditioning.ModulationHead, "steer")], steer)


def without_one(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * conditioning.spread(scale, x) + conditioning.spread(shift, x)


def norm_with(eps: float, inside: bool = True) -> Callable[[Tensor], Tensor]:
    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - mean) / ((variance + eps).sqrt() if inside else variance.sqrt() + eps)

    return norm


def gelu_with_erf(patch: pytest.MonkeyPatch) -> None:
    right = F.gelu
    patch.setattr(F, "gelu", lambda x, approximate="none": right(x))


def all_channels_guided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(test_dit, "GUIDED", test_dit.ABOUT["config"]["in_channels"])


def other_attention(patch: pytest.MonkeyPatch) -> None:
    right = blocks.attend
    patch.setattr(blocks, "attend", lambda qkv, heads, new_order: right(qkv, heads, not new_order))


def skip_first(patch: pytest.MonkeyPatch) -> None:
    """[skip, h] in the place of [h, skip], wherever feature maps of two parts are joined."""
    right = torch.cat

    def cat(tensors: Any, dim: int = 0) -> Tensor:
        return right([*tensors][::-1] if dim == 1 and tensors[0].ndim == 4 else tensors, dim=dim)

    patch.setattr(adm.torch, "cat", cat)


def resampled_before_the_norm(patch: pytest.MonkeyPatch) -> None:
    right = blocks.ResBlock.forward

    def forward(self: blocks.ResBlock, x: Tensor, emb: Tensor, tokens: Tensor) -> Tensor:
        resample, self.resample = self.resample, None
        try:
            return right(self, x if resample is None else resample(x), emb, tokens)
        finally:
            self.resample = resample

    patch.setattr(blocks.ResBlock, "forward", forward)


def gradient_moves(amount: Callable[[Tensor], Tensor]) -> Mistake:
    """DDPM steps whose gradient is multiplied by `amount` of the log variance, not by the variance."""

    def step(
        x: Tensor, found: prediction.Prediction, k: Any, levels: Process, noise: Tensor, unlearned: Any = "small"
    ) -> Tensor:
        log = prediction.log_variance(found, x, k, levels, unlearned)
        mean = levels.posterior(found.x0, x, k).mean
        if found.gradient is not None:
            mean = mean + amount(log) * found.gradient
        return mean + (at(levels.sigma_before, k, x) > 0) * (0.5 * log).exp() * noise

    return exchange([(solvers, "ddpm_step")], step)


def noise_at_the_end(patch: pytest.MonkeyPatch) -> None:
    right = solvers.ddpm_step

    def step(
        x: Tensor, found: prediction.Prediction, k: Any, levels: Process, noise: Tensor, unlearned: Any = "small"
    ) -> Tensor:
        log = prediction.log_variance(found, x, k, levels, unlearned)
        last = at(levels.sigma_before, k, x) <= 0
        return right(x, found, k, levels, noise, unlearned) + last * (0.5 * log).exp() * noise

    patch.setattr(solvers, "ddpm_step", step)


def gradient_added_to_eps(patch: pytest.MonkeyPatch) -> None:
    """The loss's sign: eps + sigma * gradient."""
    right = prediction.shifted

    def shifted(found: prediction.Prediction, x: Tensor, k: Any, levels: Process) -> prediction.Prediction:
        gradient = None if found.gradient is None else -found.gradient
        return right(found._replace(gradient=gradient), x, k, levels)

    exchange([(prediction, "shifted"), (solvers, "shifted"), (test_diffusion, "shifted")], shifted)(patch)


def betas_of_the_long_process(patch: pytest.MonkeyPatch) -> None:
    right = Process.respaced

    def respaced(self: Process, steps: Any) -> Process:
        short = right(self, steps)
        vars(short)["beta"] = self.beta[torch.tensor(steps)]
        return short

    patch.setattr(Process, "respaced", respaced)


def told_the_short_step(patch: pytest.MonkeyPatch) -> None:
    right = Process.respaced

    def respaced(self: Process, steps: Any) -> Process:
        short = right(self, steps)
        object.__setattr__(short, "t", torch.arange(len(short)))
        return short

    patch.setattr(Process, "respaced", respaced)


def share_in_0_1(patch: pytest.MonkeyPatch) -> None:
    """Learned variances read as if they were in [0, 1]."""
    right = prediction.log_variance

    def log_variance(found: prediction.Prediction, *rest: Any) -> Tensor:
        learned = None if found.variance is None else 2 * found.variance - 1
        return right(found._replace(variance=learned), *rest)

    exchange([(m, "log_variance") for m in (prediction, solvers, likelihood, test_diffusion)], log_variance)(patch)


def variance_not_clipped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Process, "posterior_log_variance", property(lambda self: self.posterior_variance.clamp(1e-20).log()))


def in_nats(patch: pytest.MonkeyPatch) -> None:
    right = likelihood.bound
    patch.setattr(likelihood, "bound", lambda *given: right(*given) * math.log(2))


MISTAKES: dict[str, tuple[Mistake, Computed, tuple[str, ...]]] = {
    "sin before cos (transformer)": (waves(order=(1, 0)), of_dit, ("forward", "t/sinusoid", "t/embedding")),
    "sin before cos (U-Net)": (waves(order=(1, 0)), of_unet, (*FORWARDS, "classifier/attention/logits")),
    "frequencies over half - 1": (waves(less=1), of_dit, ("forward", "t/sinusoid", "sinusoid/values")),
    "axes of positions swapped": (positions_swapped, of_dit, ("forward", "pos_embed", "pos/dim16_grid3")),
    "channels first in a patch": (exchange([(dit.DiT, "unpatchify")], unpatchify_channel_first), of_dit, ("forward",)),
    "scale, shift, gate": (chunks(lambda o: ("scale", "shift", *o[2:])), of_dit, ("forward",)),
    "scale without 1 +": (exchange([(dit, "modulate")], without_one), of_dit, ("forward", "cfg/scale1.5")),
    "layer norm with eps 1e-5": (exchange([(dit, "norm")], norm_with(1e-5)), of_dit, ("forward",)),
    "eps added to the deviation": (exchange([(dit, "norm")], norm_with(1e-6, inside=False)), of_dit, ("forward",)),
    "GELU with erf": (gelu_with_erf, of_dit, ("forward",)),
    "guidance on all channels": (all_channels_guided, of_dit, ("cfg/scale1.5",)),
    "shift, scale in AdaGN": (chunks(lambda o: o[::-1]), of_unet, ("modules/res_adagn", "modules/res_adagn_up")),
    "AdaGN without 1 +": (exchange([(blocks, "modulate")], without_one), of_unet, ("modules/res_adagn",)),
    "order of q, k, v": (other_attention, of_unet, ("modules/attention_legacy", "modules/attention_new", *FORWARDS)),
    "skip before h": (skip_first, of_unet, FORWARDS),
    "resampling before the norm": (
        resampled_before_the_norm, of_unet, ("modules/res_adagn_down",)
    ),
    "gradient subtracted from the mean": (
        gradient_moves(lambda log: -log.exp()), of_diffusion, ("full/clip0/condition_mean", "loop/clip0_guided/ddpm")
    ),
    "gradient without the variance": (
        gradient_moves(torch.ones_like), of_diffusion, ("full/clip0/p_sample_guided", "loop/clip0_guided/ddpm")
    ),
    "gradient added to eps": (
        gradient_added_to_eps, of_diffusion, ("full/clip0/condition_score/mean", "loop/clip0_guided/ddim")
    ),
    "betas of the long process": (betas_of_the_long_process, of_diffusion, ("short/betas", "short/clip0/p_sample")),
    "told the short step": (told_the_short_step, of_diffusion, ("short/clip0/p/mean", "loop/clip0/ddpm")),
    "v in [0, 1]": (share_in_0_1, of_diffusion, ("full/clip0/p/log_variance", "losses/learned/vb", "bpd/vb")),
    "noise at step 0": (noise_at_the_end, of_diffusion, ("full/clip0/p_sample", "loop/clip0/ddpm")),
    "variance of step 0 not clipped": (variance_not_clipped, of_diffusion, ("short/posterior_log_variance_clipped",)),
    "bound in nats": (in_nats, of_diffusion, ("losses/learned/vb", "losses/kl/loss", "bpd/total_bpd")),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_recorded_numbers_tell_the_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake, computed, entries = MISTAKES[name]
    mistake(monkeypatch)
    found = dict(computed())
    monkeypatch.undo()
    for entry in entries:
        assert error(found[entry], RECORDED[computed][entry]) > FAR, entry


@pytest.mark.parametrize("computed", RECORDED, ids=lambda computed: computed.__name__)
def test_without_a_mistake_they_agree(computed: Computed) -> None:
    named = {entry for _, by, entries in MISTAKES.values() if by is computed for entry in entries}
    for entry, value in computed():
        assert entry not in named or error(value, RECORDED[computed][entry]) < FAR, entry
