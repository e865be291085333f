"""Solvers, objectives and guidance on data whose perfect denoiser is known: nothing is trained."""

import pytest
import torch
from torch import Tensor

from models.diffusion import solvers
from models.diffusion.guidance import Guidance, classifier_free, denoiser, log_probability_gradient
from models.diffusion.prediction import Objective, Prediction, interpret, shifted
from models.diffusion.process import Process, Schedule, at, kept_steps
from models.diffusion.sampler import steps_of
from models.dit.config import DiTConfig
from tests.models.diffusion.mixture import MEANS, SHARES, STD, logits, output, perfect, score

OBJECTIVES: tuple[Objective, ...] = ("flow", "eps", "v", "x0")
WHOLE = Process.gaussian("linear")
FLOW = Process.straight(torch.linspace(0.01, 0.99, 50, dtype=torch.float64))


def points(seed: int = 0, count: int = 64) -> Tensor:
    return 2 * torch.randn(count, 1, 1, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def levels(objective: Objective) -> Process:
    return FLOW if objective == "flow" else WHOLE


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_all_objectives_say_the_same(objective: Objective) -> None:
    process, x = levels(objective), points()
    k = torch.randint(1, len(process), (len(x),), generator=torch.Generator().manual_seed(1))
    found, exact = (
        interpret(output(x, k, process, objective, None), x, k, process, objective),
        perfect(x, k, process, None),
    )
    torch.testing.assert_close(found.x0, exact.x0, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.eps, exact.eps, rtol=0, atol=1e-11)


def test_classifier_guidance_of_scale_1_is_the_conditional_model() -> None:
    x, k = points(), 400
    gradient = score(x, k, WHOLE, 0) - score(x, k, WHOLE, None)  # of log p(c | x)
    moved = shifted(perfect(x, k, WHOLE, None)._replace(gradient=gradient), x, k, WHOLE)
    torch.testing.assert_close(moved.eps, perfect(x, k, WHOLE, 0).eps, rtol=0, atol=1e-14)


def test_the_gradient_is_that_of_the_log_probability() -> None:
    x, k = points(), 400
    c = torch.zeros(len(x), dtype=torch.int64)
    found = log_probability_gradient(lambda x, t, c: logits(x, k, WHOLE), x, torch.zeros(len(x)), c)
    torch.testing.assert_close(found, score(x, k, WHOLE, 0) - score(x, k, WHOLE, None), rtol=0, atol=1e-13)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_classifier_free_guidance_is_classifier_guidance(objective: Objective, scale: float) -> None:
    process, x = levels(objective), points()
    k = len(process) // 2
    wished, plain = (output(x, k, process, objective, c) for c in (0, None))
    free = interpret(classifier_free(wished, plain, scale, 1), x, k, process, objective)
    gradient = scale * (score(x, k, process, 0) - score(x, k, process, None))
    by_classifier = shifted(perfect(x, k, process, None)._replace(gradient=gradient), x, k, process)
    torch.testing.assert_close(free.eps, by_classifier.eps, rtol=0, atol=1e-12)
    torch.testing.assert_close(free.x0, by_classifier.x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_guided_network_is_led_by_the_gradient_of_its_classifier(objective: Objective, scale: float) -> None:
    process, x = levels(objective), points()
    k, led_to = len(process) // 2, torch.zeros(len(points()), dtype=torch.int64)
    guidance = Guidance(classifier=lambda x, t, c: logits(x, k, process), classifier_scale=scale)
    network = lambda x, t, c: output(x, k, process, objective, None)  # noqa: E731
    denoise = denoiser(network, None, 0, process, objective, guidance, clip=False, led_to=led_to)
    gradient = score(x, k, process, 0) - score(x, k, process, None)
    expected = perfect(x, k, process, None).eps - scale * at(process.sigma, k, x) * gradient
    torch.testing.assert_close(shifted(denoise(x, k), x, k, process).eps, expected, rtol=0, atol=1e-12)


def sampled(
    name: str,
    objective: Objective,
    c: int | None,
    steps: int,
    gradient: bool = False,
    scale: float = 1.0,
    schedule: Schedule = "linear",
    process: Process | None = None,
) -> Tensor:
    """Points by a solver of a perfect network, [N, 2]; `gradient` leads an unconditional one to class 0."""
    config = DiTConfig.model_validate({"noise": {"objective": objective, "schedule": schedule}, "heads": 6})
    process = process or steps_of(config, steps)
    generator = torch.Generator().manual_seed(3)

    def denoise(x: Tensor, k: int) -> Prediction:
        found = interpret(output(x, k, process, objective, c), x, k, process, objective)
        guide = scale * (score(x, k, process, 0) - score(x, k, process, None))
        return found._replace(gradient=guide) if gradient else found

    def noise(step: int) -> Tensor:
        return torch.randn(4096, 1, 1, 2, generator=generator, dtype=torch.float64)

    *_, last = solvers.SOLVERS[name](denoise, noise(-1), process, noise)
    return last.flatten(1)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("name", "steps"), [("ddpm", 400), ("ddim", 100), ("euler", 100), ("heun", 20), ("dpm2m", 100)]
)
def test_samples_have_the_mean_and_deviation_of_the_data(name: str, steps: int, objective: Objective) -> None:
    found = sampled(name, objective, 0, steps)
    assert (found.mean(0) - MEANS[0]).abs().max() < 0.03
    assert (found.std(0) - STD).abs().max() < 0.03


@pytest.mark.parametrize(
    ("name", "steps"), [("ddpm", 400), ("ddim", 100), ("euler", 100), ("heun", 20), ("dpm2m", 100)]
)
def test_samples_of_the_cosine_schedule_have_them_too(name: str, steps: int) -> None:
    found = sampled(name, "eps", 0, steps, schedule="cosine")
    assert (found.mean(0) - MEANS[0]).abs().max() < 0.03
    assert (found.std(0) - STD).abs().max() < 0.03


@pytest.mark.parametrize("objective", ["flow", "eps"])
@pytest.mark.parametrize(("name", "steps"), [("ddpm", 200), ("ddim", 200), ("heun", 50), ("dpm2m", 50)])
def test_a_classifier_leads_to_its_class(name: str, steps: int, objective: Objective) -> None:
    found = sampled(name, objective, None, steps, gradient=True)
    assert (found.mean(0) - MEANS[0]).abs().max() < 0.05
    assert (found.std(0) - STD).abs().max() < 0.05


def test_the_wrong_sign_of_the_gradient_leads_away() -> None:
    found = sampled("ddpm", "eps", None, 100, gradient=True, scale=-1.0)
    assert (found - MEANS[0]).norm(dim=1).median() > 1.5


def test_without_guidance_all_classes_come_in_their_shares() -> None:
    found = sampled("heun", "flow", None, 30)
    nearest = (found[:, None] - MEANS).norm(dim=2).argmin(1)
    share = (nearest == 0).double().mean()
    assert abs(share - SHARES[0]) < 0.04


@pytest.mark.parametrize(("name", "gain"), [("euler", 1.8), ("heun", 3.0), ("dpm2m", 2.1)])
@pytest.mark.parametrize("objective", ["flow", "v"])
def test_the_order_of_the_solvers(name: str, gain: float, objective: Objective) -> None:
    """Twice the steps make the error 2 or 4 times smaller; dpm2m's steps never get short near the ends."""

    def end(steps: int) -> Tensor:
        return sampled(name, objective, 0, steps)[:256]

    exact = end(500)
    coarse, fine = ((end(steps) - exact).square().mean().sqrt() for steps in (20, 40))
    assert coarse / fine > gain


def test_dpm2m_is_of_second_order_between_levels_that_are_even_in_log_snr() -> None:
    def end(steps: int) -> Tensor:
        process = Process.straight(torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid())
        return sampled("dpm2m", "flow", 0, steps, process=process)[:256]

    exact = end(1280)
    coarse, fine = ((end(steps) - exact).square().mean().sqrt() for steps in (40, 80))
    assert coarse / fine > 3.5


def test_guidance_is_computed_inside_its_interval_alone() -> None:
    calls = []

    def network(x: Tensor, t: Tensor, c: Tensor | None) -> Tensor:
        calls.append(len(x))
        return torch.zeros_like(x)

    process = WHOLE.respaced(kept_steps("10"))
    guidance = Guidance(scale=2.0, interval=(0.2, 0.8))
    c = torch.zeros(3, dtype=torch.int64)
    denoise = denoiser(network, c, 5, process, "eps", guidance, clip=False)
    for k in range(10):
        denoise(points(count=3), k)
    assert calls == [3, 3, 6, 6, 6, 6, 6, 6, 3, 3]  # levels 222 ... 777 of 1000


def test_a_guide_takes_the_place_of_no_class() -> None:
    process, x, c = WHOLE, points(count=3), torch.zeros(3, dtype=torch.int64)
    guide = lambda x, t, c: torch.full_like(x, 0.25)  # noqa: E731
    denoise = denoiser(lambda x, t, c: torch.ones_like(x), c, 5, process, "eps", Guidance(3.0, guide=guide), clip=False)
    torch.testing.assert_close(denoise(x, 500).eps, torch.full_like(x, 0.25 + 3 * 0.75))
