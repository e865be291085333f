"""Diffusion without a network: every number recorded from DiT's and guided-diffusion's programs."""

import math
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from models.diffusion import likelihood, process, solvers
from models.diffusion.prediction import Objective, Prediction, clipped, interpret, log_variance, shifted
from models.diffusion.process import Process, at
from tests.parity.recorded import Recorded, error, normal

RECORDED = Recorded("diffusion")
CONFIG, SEED = RECORDED.about["config"], RECORDED.about["seed"]
SHAPE, STEPS = CONFIG["shape"], CONFIG["T"]
INPUTS = {"x0", "xt", "noise", "t", "short/t", "loop/start"}
DOUBLE, SINGLE = torch.float64, torch.float32


def model(x: Tensor, t: Tensor, learned: bool = True) -> Tensor:
    """The recorded network: a formula."""
    t = t.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    eps = 0.8 * torch.tanh(x) + 0.001 * t
    return torch.cat([eps, torch.tanh(2 * x - 0.5)], dim=1) if learned else eps


def gradient(x: Tensor, t: Tensor) -> Tensor:
    """The recorded classifier's gradient."""
    return -0.5 * (x - 0.3) * (1 + 0.001 * t.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)))


def predicted(
    x: Tensor,
    k: Tensor | int,
    levels: Process,
    clip: bool,
    guided: bool = False,
    learned: bool = True,
    objective: Objective = "eps",
) -> Prediction:
    t = levels.t[k].reshape(-1)
    found = interpret(model(x, t, learned), x, k, levels, objective)
    found = clipped(found, x, k, levels) if clip else found
    return found._replace(gradient=gradient(x, t)) if guided else found


def steps_of(levels: Process, k: Tensor, clip: bool, x: Tensor, noise: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One step of each kind from levels k."""
    plain, guided = predicted(x, k, levels, clip), predicted(x, k, levels, clip, guided=True)
    yield "p/mean", levels.posterior(plain.x0, x, k).mean
    yield "p/log_variance", log_variance(plain, x, k, levels)
    yield "p/pred_xstart", plain.x0
    yield "p_sample", solvers.ddpm_step(x, plain, k, levels, noise)
    yield "ddim_eta0.0", solvers.ddim_step(x, plain, k, levels, noise)
    yield "ddim_eta0.7", solvers.ddim_step(x, plain, k, levels, noise, eta=0.7)
    yield "ddim_reverse", solvers.ddim_reverse_step(x, plain, k, levels)
    yield "condition_mean", solvers.ddpm_step(x, guided, k, levels, torch.zeros_like(noise))
    moved = shifted(guided, x, k, levels)
    yield "condition_score/pred_xstart", moved.x0
    yield "condition_score/mean", levels.posterior(moved.x0, x, k).mean
    yield "p_sample_guided", solvers.ddpm_step(x, guided, k, levels, noise)
    yield "ddim_guided", solvers.ddim_step(x, guided, k, levels, noise)


def tables(short: Process) -> Iterator[tuple[str, Tensor]]:
    yield "betas", short.beta
    yield "alphas_cumprod", short.alpha**2
    yield "alphas_cumprod_prev", short.alpha_before**2
    yield "alphas_cumprod_next", torch.cat([short.alpha[1:], torch.zeros(1, dtype=DOUBLE)]) ** 2
    yield "posterior_variance", short.posterior_variance
    yield "posterior_log_variance_clipped", short.posterior_log_variance
    yield "posterior_mean_coef1", short.posterior_mean_x0
    yield "posterior_mean_coef2", short.posterior_mean_xt


def loops(short: Process, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    start = normal(SEED + 3, *SHAPE, dtype=dtype)

    def noise(step: int) -> Tensor:
        return normal(SEED + 50 + step, *SHAPE, dtype=dtype)

    for clip in (0, 1):
        for guided in ("", "_guided"):

            def denoise(x: Tensor, k: int, clip: int = clip, guided: str = guided) -> Prediction:
                return predicted(x, k, short, bool(clip), bool(guided))

            for name, solve in (
                ("ddpm", solvers.ddpm),
                ("ddim", solvers.ddim),
                ("ddim_eta1", solvers.solver("ddim", eta=1.0)),
            ):
                way = list(solve(denoise, start, short, noise))
                yield f"clip{clip}{guided}/{name}", way[-1]
                if (clip, guided, name) == (0, "", "ddpm"):
                    yield "clip0/ddpm_first_step", way[0]


def losses(whole: Process, cosine: Process, short: Process, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    x0, noise = (RECORDED[name].to(dtype) for name in ("x0", "noise"))
    t, t_short = RECORDED["t"], RECORDED["short/t"]

    def found(
        levels: Process, k: Tensor, kind: likelihood.Kind, learned: bool = True, objective: Objective = "eps"
    ) -> likelihood.Losses:
        output = model(levels.noised(x0, k, noise), levels.t[k], learned)
        return likelihood.losses(output, x0, noise, k, levels, objective, kind)

    for name, values in (
        ("learned", found(whole, t, "hybrid")),
        ("learned_cosine", found(cosine, t, "hybrid")),
        ("learned_rescaled", found(whole, t, "rescaled")),
        ("learned_rescaled_short", found(short, t_short, "rescaled")),
        ("predict_x0", found(whole, t, "hybrid", objective="x0")),
    ):
        yield from ((f"{name}/{part}", getattr(values, part)) for part in ("vb", "mse", "loss"))
    yield "kl/loss", found(whole, t, "bound").loss
    yield "rescaled_kl/loss", found(whole, t, "bound").loss * len(whole)
    fixed = found(whole, t, "mse", learned=False)
    yield from ((f"fixed_large/{part}", getattr(fixed, part)) for part in ("mse", "loss"))


def bits(short: Process, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    x0 = RECORDED["x0"].to(dtype)

    def denoise(x: Tensor, k: int) -> Prediction:
        return predicted(x, k, short, clip=True)

    found = likelihood.bits(denoise, x0, short, lambda step: normal(SEED + 50 + step, *SHAPE, dtype=dtype))
    names = {"total_bpd": "total", "prior_bpd": "prior", "vb": "vb", "xstart_mse": "x0_mse", "mse": "mse"}
    yield from ((theirs, getattr(found, ours)) for theirs, ours in names.items())


@cache
def ours(dtype: torch.dtype) -> dict[str, Tensor]:
    """Everything recorded, by our code."""
    x0, x, noise = (RECORDED[name].to(dtype) for name in ("x0", "xt", "noise"))
    t, t_short = RECORDED["t"], RECORDED["short/t"]
    whole, cosine = Process.gaussian("linear", STEPS), Process.gaussian("cosine", STEPS)
    short = whole.respaced(process.kept_steps(CONFIG["short"], STEPS))
    found: dict[str, Tensor] = {}

    def add(prefix: str, pairs: Iterator[tuple[str, Tensor]]) -> None:
        found.update({f"{prefix}/{name}": value for name, value in pairs})

    found["betas/linear"], found["betas/cosine"] = process.betas("linear", STEPS), process.betas("cosine", STEPS)
    for name, levels in (("linear", whole), ("cosine", cosine)):
        found[f"alphas_cumprod/{name}"] = levels.alpha**2
        found[f"{name}/q_sample"] = levels.noised(x0, t, noise)
        true = levels.posterior(x0, x, t)
        found[f"{name}/q_posterior_mean"] = true.mean
        found[f"{name}/q_posterior_variance"] = true.variance.flatten()
        found[f"{name}/q_posterior_log_variance"] = true.log_variance.flatten()
        found[f"{name}/prior_bpd"] = likelihood.prior_bits(x0, levels)
    for steps, text in CONFIG["respacings"]:
        found[f"respacing/{steps}/{text or 'all'}"] = torch.tensor(process.kept_steps(text, steps))
    add("short", tables(short))
    for name, levels, k in (("full", whole, t), ("short", short, t_short)):
        for clip in (0, 1):
            add(f"{name}/clip{clip}", steps_of(levels, k, bool(clip), x, noise))
    for kind in ("large", "small"):
        plain = predicted(x, t, whole, clip=False, learned=False)
        log = log_variance(plain, x, t, whole, kind).flatten()
        found[f"fixed_{kind}/log_variance"] = log
        found[f"fixed_{kind}/p_sample"] = solvers.ddpm_step(x, plain, t, whole, noise, kind)
    as_x0 = predicted(x, t, whole, clip=False, objective="x0")
    found["predict_x0/mean"], found["predict_x0/pred_xstart"] = whole.posterior(as_x0.x0, x, t).mean, as_x0.x0
    add("losses", losses(whole, cosine, short, dtype))
    add("loop", loops(short, dtype))
    add("bpd", bits(short, dtype))
    # Options that no released model uses, from the same pieces.
    output = model(x, t)
    eps, freely = output.chunk(2, dim=1)
    found["adm/learned_variance/log_variance"] = freely
    c0, ct = at(whole.posterior_mean_x0, t, x), at(whole.posterior_mean_xt, t, x)
    found["adm/previous_x/pred_xstart"], found["adm/previous_x/mean"] = (eps - ct * x) / c0, eps
    found["adm/rescaled_timesteps/pred_xstart"] = predicted(x, t_short, short, clip=False).x0
    return found


def tolerance(key: str, dtype: torch.dtype) -> float:
    """Relative to the largest value of an array; what double and single precision leave."""
    if "prior_bpd" in key or key == "bpd/total_bpd":
        return 1e-6 if dtype == DOUBLE else 2e-4
    if key.startswith("loop"):
        return 1e-8 if dtype == DOUBLE else 5e-5
    if key in ("losses/predict_x0/vb", "losses/predict_x0/loss"):
        return 1e-8 if dtype == DOUBLE else math.inf  # logarithms of tails, which float32 does not resolve
    if key.startswith("full/clip1/ddim"):
        return 1e-9 if dtype == DOUBLE else 2e-4  # eps is divided by a small number
    return 1e-9 if dtype == DOUBLE else 1e-5


def test_every_entry_is_compared() -> None:
    assert set(ours(DOUBLE)) == set(RECORDED.arrays) - INPUTS
    assert len(RECORDED.arrays) == 129


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_equal_to_the_published_programs(dtype: torch.dtype) -> None:
    errors = {key: error(value, RECORDED[key]) for key, value in ours(dtype).items()}
    wrong = {key: found for key, found in errors.items() if not found <= tolerance(key, dtype)}
    assert not wrong
