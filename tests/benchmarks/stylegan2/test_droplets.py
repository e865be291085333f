"""The droplet experiment: what stands in the place of demodulation, and what counts as a droplet."""

import pytest
import torch
from click.testing import CliRunner

from benchmarks.stylegan2 import droplets
from models.conditioning import statistics
from tests.networks import tiny_generator
from tests.training.runs import TINY


def test_maps_have_the_statistics_of_the_style():
    config = tiny_generator().config
    layer = droplets.AdaINLayer(config, 4, 6, (8, 8), up=2)
    x, w = torch.randn(3, 4, 4, 4), torch.randn(3, config.w_dim)
    scale, shift = layer.adain.affine(w).chunk(2, dim=1)
    mean, std = statistics(layer(x, w, None), "instance")
    assert torch.allclose(mean.flatten(1), shift, atol=1e-5)
    assert torch.allclose(std.flatten(1), (1 + scale).abs(), rtol=1e-2, atol=1e-2)


def test_a_planted_droplet_is_seen():
    maps = torch.randn(2, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    norm, spot, peak = droplets.droplets(maps)
    assert norm < 1.2 and spot < 3 and peak < 6
    maps[:, :, 5, 7] = 100
    norm, spot, peak = droplets.droplets(maps)
    assert spot > 50 and peak > 25 and norm == pytest.approx(1, abs=0.1)
    maps[:, 3] *= 10
    assert droplets.droplets(maps)[0] == pytest.approx(10, rel=0.1)


def test_both_networks_are_trained_and_measured(tmp_path):
    words = [f"--set={name}={value}" for name, value in TINY.items() if "_dim" in name or "channel" in name]
    words += ["--data=demo:16", "--batch=4", "--kimg=0.008", "--device=cpu", f"--sheet={tmp_path / 'sheet.png'}"]
    done = CliRunner().invoke(droplets.main, words)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["size", "4x4", "8x8", "16x16"]
    assert all(len(line.split()) == 7 for line in lines[1:]) and (tmp_path / "sheet.png").is_file()
