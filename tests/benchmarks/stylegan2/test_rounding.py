"""Errors of gradients in shorter number formats."""

import pytest
from click.testing import CliRunner

from benchmarks.stylegan2 import rounding
from models.families import save_network
from tests.networks import tiny_discriminator, tiny_generator


def test_the_whole_weighs_parameters_by_their_gradients_and_the_typical_does_not():
    """Distances 3, 0 and 0.5 of gradients of lengths 4, 3 and 1; one without a gradient does not count."""
    whole, typical = rounding.error([(9, 16), (0, 9), (0.25, 1), (0, 0)])
    assert whole == pytest.approx((9.25 / 26) ** 0.5)
    assert typical == pytest.approx(0.5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_in_float32_are_those_in_float32(precision, tmp_path):
    networks = {"G": tiny_generator(classes=5), "D": tiny_discriminator(classes=5)}
    networks["G_ema"] = networks["G"]
    save_network(tmp_path / "tiny.safetensors", "stylegan2", networks, {})
    g = tiny_generator(classes=5).config
    sizes = [f"channel_base={g.channel_base}", f"channel_max={g.channel_max}", f"mapping_layers={g.mapping_layers}"]
    flags = [f"{of}.{size}" for of in ("generator", "discriminator") for size in sizes]
    flags = [*flags[:-1], f"generator.z_dim={g.z_dim}", f"generator.w_dim={g.w_dim}", flags[-1]]
    network = ["--network", str(tmp_path / "tiny.safetensors"), "--batches", "1", "--precision", precision]
    data = ["--data", f"demo:{g.width}x{g.height}", "--preset", "demo", *(f"--set={flag}" for flag in flags)]
    run = CliRunner().invoke(rounding.main, network + data)
    assert run.exit_code == 0, run.output
    lines = [line.split() for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == [precision, "Gmain", "Gpath", "Dmain", "Dr1r2"]
    for _, *errors in lines[1:]:
        assert all((error == "0.0%") == (precision == "fp32") for error in errors)
