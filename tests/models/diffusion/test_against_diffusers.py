"""Respacing and every solver's steps against the schedulers of diffusers, an independent implementation."""

import pytest
import torch
from torch import Tensor

from models.diffusion import solvers
from models.diffusion.prediction import Prediction, interpret
from models.diffusion.process import Process, kept_steps

diffusers = pytest.importorskip("diffusers")

SHAPE, STEPS = (2, 3, 4, 4), 10
LINEAR = {"beta_start": 1e-4, "beta_end": 2e-2, "beta_schedule": "linear", "num_train_timesteps": 1000}


def model(x: Tensor, t: float) -> Tensor:
    return 0.8 * torch.tanh(x) + 0.0003 * t


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def process_of(steps: list[int]) -> Process:
    return Process.gaussian("linear").respaced(sorted(steps))


def ours(name: str, steps: list[int], **settings: float) -> Tensor:
    process = process_of(steps)

    def denoise(x: Tensor, k: int) -> Prediction:
        return interpret(model(x, float(process.t[k])), x, k, process, "eps")

    noise = lambda step: torch.randn(SHAPE, generator=torch.Generator().manual_seed(step), dtype=torch.float64)  # noqa: E731
    *_, last = solvers.SOLVERS[name](denoise, start(), process, noise, **settings)
    return last


def theirs(scheduler: object, scale: float = 1.0, noisy: bool = False, **settings: object) -> tuple[Tensor, list[int]]:
    """The end of a scheduler's way, and the steps it took."""
    scheduler.set_timesteps(STEPS)  # type: ignore[attr-defined]
    x, seen = start() * scale, []
    for i, t in enumerate(scheduler.timesteps):  # type: ignore[attr-defined]
        told = scheduler.scale_model_input(x, t)  # type: ignore[attr-defined]
        seen.append(int(t))
        if noisy:
            settings["generator"] = torch.Generator().manual_seed(i)
        x = scheduler.step(model(told.double(), float(t)), t, x, **settings).prev_sample.double()  # type: ignore[attr-defined]
    return x, seen


def assert_alike(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_ddim_and_its_steps() -> None:
    scheduler = diffusers.DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    expected, seen = theirs(scheduler)
    assert sorted(seen) == kept_steps("ddim10")
    assert_alike(ours("ddim", seen), expected)
    assert_alike(ours("euler", seen), expected)


def test_ddim_with_noise() -> None:
    scheduler = diffusers.DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    expected, seen = theirs(scheduler, noisy=True, eta=1.0)
    assert_alike(ours("ddim", seen, eta=1.0), expected, 1e-4)


def test_ddpm() -> None:
    scheduler = diffusers.DDPMScheduler(**LINEAR, clip_sample=False, timestep_spacing="linspace")
    expected, seen = theirs(scheduler, noisy=True)
    assert sorted(seen) == kept_steps("10")
    assert_alike(ours("ddpm", seen), expected, 1e-4)


def test_heun() -> None:
    scheduler = diffusers.HeunDiscreteScheduler(**LINEAR, timestep_spacing="linspace")
    scheduler.set_timesteps(STEPS)
    first = float(Process.gaussian("linear").alpha[-1])
    x = start() / first  # diffusers steps in x / alpha
    seen = []
    for t in scheduler.timesteps:
        told = scheduler.scale_model_input(x, t)
        seen.append(int(t))
        x = scheduler.step(model(told.double(), float(t)), t, x).prev_sample.double()
    assert_alike(ours("heun", sorted(set(seen))), x, 2e-4)


def test_dpm_solver() -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **LINEAR, algorithm_type="dpmsolver++", solver_order=2, euler_at_final=True, timestep_spacing="linspace"
    )
    expected, seen = theirs(scheduler)
    assert_alike(ours("dpm2m", seen), expected, 1e-4)


def test_flow_matching() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / STEPS for i in range(STEPS)])
    x = start()
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, float(t)), t, x).prev_sample.double()
    process = Process.straight(torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS)

    def denoise(x: Tensor, k: int) -> Prediction:
        return interpret(model(x, float(process.t[k])), x, k, process, "flow")

    *_, found = solvers.euler(denoise, start(), process, lambda step: start())
    assert_alike(found, x)
