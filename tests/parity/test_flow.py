"""Stochastic interpolants without a network: every number recorded from SiT's program, but those of its network."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from models.diffusion import interpolants
from models.diffusion.interpolants import coefficients, ode, sde
from models.diffusion.likelihood import losses as training_losses
from models.diffusion.prediction import Prediction, interpret, target
from models.diffusion.process import Process
from models.diffusion.solvers import euler
from tests.parity.recorded import Recorded, error, normal

RECORDED = Recorded("flow")
CONFIG, SEED = RECORDED.about["config"], RECORDED.about["seed"]
SHAPE = CONFIG["shape"]
DOUBLE, SINGLE = torch.float64, torch.float32
OWN_TEST = "net/"  # compared in test_dit.py


def model(x: Tensor, t: Tensor) -> Tensor:
    """The recorded network: a formula."""
    return 0.8 * torch.tanh(x) - 0.5 * t.reshape(-1, *[1] * (x.ndim - 1)) + 0.2


def of_path(path: interpolants.Path, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    t, noise, data, v = (RECORDED[name].to(dtype) for name in ("t", "noise", "data", "v"))
    at = coefficients(path, t)
    for name in ("alpha", "d_alpha", "sigma", "d_sigma"):
        yield name, getattr(at, name).flatten()
    x_t, u_t = at.between(noise, data)
    yield "x_t", x_t
    yield "u_t", u_t
    yield "drift", at.drift(v)
    yield "drift_variance", at.diffusion.flatten()
    yield "score_from_velocity", at.score(v, data)
    yield "noise_from_velocity", at.noise(v, data)
    yield "velocity_from_score", at.velocity(v, data)
    for form, formula in interpolants.FORMS.items():
        published = form.replace("increasing-", "inccreasing-")
        yield f"diffusion/{published}", formula(at, t.reshape(-1, 1, 1, 1)).flatten()
    yield from losses(path, dtype)
    start = noise
    first, end = RECORDED.about["interval_ode"][f"{path}/velocity"]
    times = torch.linspace(first, end, CONFIG["steps"], dtype=dtype)
    yield "ode/euler", list(ode(model, start, times))[-1]
    yield "ode/heun2", list(ode(model, start, times, second_order=True))[-1]
    first, end = RECORDED.about["interval_sde"][path]
    times = torch.linspace(first, end, CONFIG["steps"], dtype=dtype)
    kicks = lambda k: normal(SEED + 50 + k, *SHAPE, dtype=dtype)  # noqa: E731
    for last in ("Mean", "Tweedie", "Euler"):
        way = sde(model, start, times, path, kicks, last=last, last_size=CONFIG["last"])
        yield f"sde/Euler_last{last}", list(way)[-1]
    way = sde(model, start, times, path, kicks, second_order=True, last_size=CONFIG["last"])
    yield "sde/Heun_lastMean", list(way)[-1]


def losses(path: interpolants.Path, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    uniform, noise, data = (RECORDED[name].to(dtype) for name in ("t", "noise", "data"))
    kinds: tuple[interpolants.Predicted, ...] = ("velocity", "noise", "score")
    weights: tuple[interpolants.Weight, ...] = ("", "velocity", "likelihood")
    for kind in kinds:
        first, end = RECORDED.about["interval_train"][f"{path}/{kind}"]
        t = uniform * (end - first) + first
        at = coefficients(path, t)
        x, _ = at.between(noise, data)
        for weight in weights if kind != "velocity" else ("",):
            found = interpolants.loss(model(x, t), noise, data, at, kind, weight)
            yield f"loss/{kind}{'_' * bool(weight)}{weight}", found


@cache
def ours(dtype: torch.dtype) -> dict[str, Tensor]:
    paths: tuple[interpolants.Path, ...] = ("Linear", "GVP", "VP")
    return {f"{path}/{name}": value for path in paths for name, value in of_path(path, dtype)}


def test_every_entry_is_compared() -> None:
    inputs = {"t", "noise", "data", "v"}
    assert set(ours(DOUBLE)) == {key for key in RECORDED.arrays if not key.startswith(OWN_TEST)} - inputs
    assert len(RECORDED.arrays) == 98


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_equal_to_the_published_program(dtype: torch.dtype) -> None:
    errors = {key: error(value, RECORDED[key]) for key, value in ours(dtype).items()}
    wrong = {key: found for key, found in errors.items() if not found <= (1e-9 if dtype == DOUBLE else 1e-5)}
    assert not wrong


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_training_and_sampling_of_flows_are_the_recorded_linear_path(dtype: torch.dtype) -> None:
    """Our noise level is 1 - t, and our velocity points to the noise."""
    t, noise, data = (RECORDED[name].to(dtype) for name in ("t", "noise", "data"))
    levels, order = (1 - RECORDED["t"].to(DOUBLE)).sort()
    process, k = Process.straight(levels), order.argsort()
    x = process.noised(data, k, noise)
    first, end = RECORDED.about["interval_ode"]["Linear/velocity"]
    assert (first, end) == (0, 1)
    steps = CONFIG["steps"] - 1
    whole = Process.straight(torch.arange(1, steps + 1, dtype=DOUBLE) / steps)

    def denoise(x: Tensor, k: int) -> Prediction:
        velocity = model(x, (1 - whole.sigma[k]).to(dtype).reshape(1))
        return interpret(-velocity, x, k, whole, "flow")

    found = {
        "x_t": x,
        "u_t": -target(data, noise, k, process, "flow"),
        "loss/velocity": training_losses(-model(x, t), data, noise, k, process, "flow").loss,
        "ode/euler": list(euler(denoise, noise, whole, lambda step: noise))[-1],
    }
    errors = {name: error(value, RECORDED[f"Linear/{name}"]) for name, value in found.items()}
    assert all(value <= (1e-9 if dtype == DOUBLE else 1e-5) for value in errors.values()), errors
