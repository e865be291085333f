"""The best linear denoiser on normally distributed pictures, for which no denoiser is better."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks.diffusion.linear import Wiener, main, network_error
from models.diffusion.prediction import target
from models.diffusion.process import Process
from models.dit.config import DiTConfig
from models.dit.network import DiT
from models.families import save_network

SHAPE, D = (3, 2, 2), 12
FLOW = Process.straight(torch.arange(1, 1001, dtype=torch.float64) / 1000)
WHOLE = Process.gaussian("linear")
OBJECTIVES = ("flow", "eps", "v", "x0")


def gaussian(count: int) -> tuple[Wiener, torch.Tensor]:
    """A linear denoiser of known moments, and pictures that have them."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(D, D, generator=generator, dtype=torch.float64) * torch.linspace(0.02, 0.5, D)
    mean = torch.rand(D, generator=generator, dtype=torch.float64) - 0.5
    z = torch.randn(count, D, generator=generator, dtype=torch.float64)
    return Wiener.of(mean, root @ root.T), (mean + z @ root.T).reshape(count, *SHAPE)


def process_of(objective):
    return FLOW if objective == "flow" else WHOLE


def as_network(linear, k, process, objective):
    """The linear denoiser as a network of an objective."""

    def network(x, t, c):
        x0 = linear.picture(x, k, process)
        return target(x0, (x - process.alpha[k] * x0) / process.sigma[k], k, process, objective)

    return network


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("k", [20, 300, 700, 990])
def test_its_error_is_the_closed_form(objective, k):
    """Measured on 100,000 pictures, whose mean square of 12 numbers has a relative deviation below 0.3 %."""
    linear, images = gaussian(100_000)
    process = process_of(objective)
    found = network_error(as_network(linear, k, process, objective), images, None, k, process, objective, 10_000)
    assert found == pytest.approx(linear.error(k, process, objective), rel=0.01)


def test_it_is_the_expected_picture():
    """Of a normal distribution, by the textbook's formula of conditional means."""
    linear, images = gaussian(5)
    covariance = linear.axes @ linear.values.diag() @ linear.axes.T
    alpha, sigma = WHOLE.alpha[400], WHOLE.sigma[400]
    away = images.flatten(1) - alpha * linear.mean
    both = alpha**2 * covariance + sigma**2 * torch.eye(D, dtype=torch.float64)
    expected = linear.mean + alpha * away @ torch.linalg.solve(both, covariance)
    torch.testing.assert_close(linear.picture(images, 400, WHOLE).flatten(1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", ["flow", "eps"])
def test_gradient_descent_of_a_linear_network_approaches_it(objective):
    """From above: no linear network is better."""
    linear, images = gaussian(20_000)
    process, k = process_of(objective), 400
    layer = torch.nn.Linear(D, D, dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, wanted = process.noised(images, k, noise).flatten(1), target(images, noise, k, process, objective).flatten(1)

    def loss():
        optimizer.zero_grad()
        error = (layer(x) - wanted).square().mean()
        error.backward()
        return error

    before = float(loss())
    optimizer.step(loss)
    found = network_error(
        lambda x, t, c: layer(x.flatten(1)).reshape(x.shape), images, None, k, process, objective, 10_000
    )
    best = linear.error(k, process, objective)
    assert before > 1.2 * best and 0.99 * best < found < 1.01 * best
    with torch.no_grad():
        layer.weight.mul_(0.8)  # any other is worse
    worse = network_error(
        lambda x, t, c: layer(x.flatten(1)).reshape(x.shape), images, None, k, process, objective, 10_000
    )
    assert worse > 1.02 * best


def test_the_command_prints_all(tmp_path):
    network = DiT(DiTConfig(height=8, width=8, classes=5, hidden=8, depth=1, heads=1, patch=4))
    place = tmp_path / "x.safetensors"
    save_network(place, "dit", {"ema": network, "net": network}, {})
    words = ["--network", str(place), "--network", str(place), "--images", "20", "--fit", "100"]
    result = CliRunner().invoke(main, [*words, "--data", "demo:8"])
    assert result.exit_code == 0, (result.output, result.exception)
    rows = [line.split() for line in result.output.splitlines()[-10:]]
    assert [row[0] for row in rows] == ["5%", *(f"{n}5%" for n in range(1, 10))]
    assert all(row[2] == row[3] and float(row[2]) > float(row[1]) for row in rows)  # untrained
    for parameter in network.parameters():
        parameter.data.normal_(std=0.1)
    save_network(place, "dit", {"ema": network, "net": network}, {})
    told, untold = (
        CliRunner().invoke(main, [*words, "--data", "demo:8", *more]).output for more in ([], ["--no-class"])
    )
    assert told.splitlines()[-1] != untold.splitlines()[-1]
    said = CliRunner().invoke(main, [*words, "--data", "demo:16"])
    assert said.exit_code == 2 and "take others" in said.output and "Traceback" not in said.output
