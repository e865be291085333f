from textwrap import dedent

import pytest
from click.testing import CliRunner

from benchmarks import turns
from benchmarks.stylegan2 import compare
from benchmarks.stylegan2.step import StepSetting

FLAGS = "--resolution 16 --channel-base 64 --channel-max 8 --mapping-layers 1 --batch 4 --iterations 1 --threads 1"

# A stand-in with the interface that `official.py` calls; it checks what it is given.
NETWORKS = """
    import torch

    class Generator(torch.nn.Module):
        def __init__(self, z_dim, c_dim, w_dim, mapping_kwargs, synthesis_kwargs, img_resolution, img_channels):
            super().__init__()
            assert (mapping_kwargs, synthesis_kwargs) == (dict(num_layers=1), dict(channel_base=64, channel_max=8))
            self.mapping = torch.nn.Linear(z_dim, 3)
            self.synthesis = torch.nn.Upsample(scale_factor=img_resolution)
        def forward(self, z, c, noise_mode):
            assert noise_mode == "const" and not self.training and z.shape == (4, 512)
            return self.synthesis(self.mapping(z)[:, :, None, None])

    class Discriminator(torch.nn.Linear):
        def __init__(self, c_dim, img_resolution, img_channels, channel_base, channel_max):
            super().__init__(img_channels, 1)
"""
LOSS = """
    class StyleGAN2Loss:
        def __init__(self, device, G_mapping, G_synthesis, D, r1_gamma):
            self.networks = {"G": G_mapping, "D": D}
        def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
            assert gain == {"Gmain": 1, "Greg": 4, "Dmain": 1, "Dreg": 16}[phase]
            assert real_img.shape == (4, 3, 16, 16) and gen_z.shape == (4, 512)
            self.networks[phase[0]].weight.square().sum().backward()
"""


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "training"
    package.mkdir()
    for name, text in {"__init__": "", "networks": dedent(NETWORKS), "loss": dedent(LOSS)}.items():
        (package / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.proof
def test_runs_both_and_compares_them(checkout):
    result = CliRunner().invoke(compare.main, [*FLAGS.split(), "--official", str(checkout), "--rounds", "1"])
    assert result.exit_code == 0, result.output
    rows = [line.rsplit(maxsplit=3) for line in result.stdout.splitlines()[6:]]
    assert [title.split(",")[0] for title, *_ in rows] == [
        *("training", "sampling", "Gmain", "Gpath", "Dmain", "Dr1", "memory")
    ]
    assert all(float(number) >= 0 for _, *numbers in rows for number in numbers)


def test_runs_by_turns_and_takes_medians(checkout, monkeypatch):
    order = []

    def run(name, *arguments):
        ours = name == "stylegan2.step"
        order.append("ours" if ours else "official")
        names = compare.OFFICIAL_PHASES if ours else compare.OFFICIAL_PHASES.values()
        seconds = dict.fromkeys(names, float(len(order)))
        times = {
            "batch": 4,
            "phase_seconds": seconds,
            "phase_intervals": dict.fromkeys(names, 4),
            "sample_seconds": 2.0,
        }
        times["peak_bytes"] = 2**20 if ours else 2**21
        return times

    monkeypatch.setattr(turns, "run_json", run)
    setting = StepSetting(resolution="16")
    found = compare.compare(setting, checkout, 2)
    assert order == ["official", "ours", "ours", "official"]
    assert found["ours"]["Gmain"] == 2.5  # of runs 2 and 3
    assert found["official"]["Dr1"] == 2.5  # of runs 1 and 4
    assert found["ours"]["training"] == pytest.approx((4 / 2 + 4 / 3) / 2)
    assert found["ratio"]["bytes"] == 0.5
    table = compare.table(setting, 2, found)
    assert [line.split()[-3:] for line in table.splitlines() if line.startswith("memory")] == [["1.00", "2.00", "0.50"]]


@pytest.mark.parametrize(
    ("code", "words"),
    [("import no_such_thing", "Error: the package no_such_thing is missing"), ("1 / 0", "ZeroDivisionError: ")],
)
def test_a_failure_ends_in_its_error(checkout, code, words):
    (checkout / "training" / "networks.py").write_text(code)
    with pytest.raises(ValueError, match=rf"official failed \({words}"):
        compare.theirs(StepSetting(resolution="16"), checkout)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--resolution", "96"],
            "--resolution 96: the official code supports squares of a power of two only, such as 64",
        ),
        (["--resolution", "64x32"], "--resolution 64x32: the official code supports squares of a power of two only"),
    ],
)
def test_refuses_sizes_that_the_official_code_lacks(checkout, flags, words):
    result = CliRunner().invoke(compare.main, ["--official", str(checkout), *flags])
    assert result.exit_code == 2
    assert words in result.output


def test_refuses_a_folder_that_is_no_checkout(tmp_path):
    result = CliRunner().invoke(compare.main, ["--official", str(tmp_path)])
    assert result.exit_code == 2
    assert "is no checkout of the official code (it has no training/networks.py): clone" in result.output
