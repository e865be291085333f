from textwrap import dedent

import pytest
from click.testing import CliRunner

from benchmarks import turns
from benchmarks.diffusion import compare, published

FLAGS = "--model dit-s/8 --resolution 8 --classes 2 --batch 2 --steps 2 --iterations 1 --threads 1"

# A stand-in with the interface that `published.py` calls; it checks what it is given.
NETWORKS = """
    import torch

    class Network(torch.nn.Conv2d):
        def __init__(self, input_size, in_channels, num_classes):
            super().__init__(in_channels, 2 * in_channels, 1)
            assert (input_size, num_classes) == (8, 2)
        def forward(self, x, t, y):
            assert self.training and x.shape == (2, 3, 8, 8) and len(t) == len(y) == 2 and y.max() < 2
            return super().forward(x)
        def forward_with_cfg(self, x, t, y, cfg_scale):
            assert not self.training and cfg_scale == 1.5 and y.tolist() == [0, 1, 2, 2]
            return super().forward(x)

    DiT_models = {"DiT-S/8": Network}
"""
PROCESS = """
    import torch

    class Process:
        def p_sample_loop(self, model, shape, noise, clip_denoised, model_kwargs, device):
            assert shape == (4, 3, 8, 8) and noise[:2].equal(noise[2:]) and not torch.is_grad_enabled()
            model(noise, torch.zeros(4), **model_kwargs)

    def create_diffusion(timestep_respacing):
        assert timestep_respacing == "2"
        return Process()
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "diffusion").mkdir()
    (tmp_path / "models.py").write_text(dedent(NETWORKS))
    (tmp_path / "diffusion" / "__init__.py").write_text(dedent(PROCESS))
    return tmp_path


def test_the_published_names():
    assert published.published_name("dit-s/2") == "DiT-S/2"


def test_drives_the_published_program(checkout):
    setting = compare.DenoisingSetting(model="dit-s/8", resolution=8, classes=2, batch=2, steps=2, iterations=1)
    found = compare.theirs(setting, checkout)
    assert found["batch"] == 2 and found["phase_seconds"]["denoise"] > 0 and found["sample_seconds"] > 0


@pytest.mark.proof
def test_runs_both_and_compares_them(checkout):
    run = CliRunner().invoke(compare.main, [*FLAGS.split(), "--official", str(checkout), "--rounds", "1"])
    assert run.exit_code == 0, run.output
    rows = [line.rsplit(maxsplit=3)[0] for line in run.stdout.splitlines()[7:]]
    assert rows == ["training, images/s", "sampling, images/s", "denoise, ms", "memory, MiB"]


def test_both_take_the_same_steps_with_the_same_guidance(monkeypatch, checkout):
    said = []
    monkeypatch.setattr(turns, "run_json", lambda *words: said.append(words) or {})
    setting = compare.DenoisingSetting(batch=4, steps=7, cfg_scale=2.0)
    compare.ours(setting)
    compare.theirs(setting, checkout)
    ours, theirs = said
    assert {"--set=sampling.steps=7", "--set=sampling.cfg_scale=2.0", "--set=loss.kind=mse"} <= set(ours)
    assert '"steps":7' in theirs[2] and '"cfg_scale":2.0' in theirs[2]


def test_a_folder_of_something_else_is_refused(tmp_path):
    run = CliRunner().invoke(compare.main, ["--official", str(tmp_path)])
    assert run.exit_code == 2
    assert "is no checkout of DiT (it has no models.py, or no folder diffusion): clone" in run.output
