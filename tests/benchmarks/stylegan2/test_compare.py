import json
from textwrap import dedent

import pytest
from click.testing import CliRunner

from benchmarks.stylegan2 import compare
from benchmarks.stylegan2.setting import Setting

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


def test_runs_both_and_compares_them(checkout):
    result = CliRunner().invoke(compare.main, [*FLAGS.split(), "--official", str(checkout), "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    keys = {"train", "sampling", "Gmain_seconds", "Gpath_seconds", "Dmain_seconds", "Dr1_seconds", "bytes"}
    assert set(found["ours"]) == set(found["official"]) == set(found["ratio"]) == keys
    for key in keys:
        assert found["ratio"][key] == pytest.approx(found["ours"][key] / found["official"][key])
    assert all(value > 0 for value in found["official"].values())


def test_runs_by_turns_and_takes_medians(checkout, monkeypatch):
    order = []

    def run(command):
        ours = "-m" in command
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

    monkeypatch.setattr(compare, "run_json", run)
    setting = Setting(resolution="16")
    found = compare.compare(setting, checkout, 2)
    assert order == ["ours", "official", "official", "ours"]
    assert found["ours"]["Gmain_seconds"] == 2.5  # of runs 1 and 4
    assert found["official"]["Dr1_seconds"] == 2.5  # of runs 2 and 3
    assert found["official"]["train"] == pytest.approx((4 / 2 + 4 / 3) / 2)
    assert found["ratio"]["bytes"] == 0.5
    table = compare.table(setting, found)
    assert [line.split()[-3:] for line in table.splitlines() if line.startswith("memory")] == [["1.00", "2.00", "0.50"]]


def test_a_setting_is_spelled_as_its_flags():
    spelled = compare.spelled(Setting(batch=3, precision="bf16"))
    assert spelled[:4] == ["--resolution", "64", "--channel-base", "16384"]
    assert spelled[spelled.index("--batch") + 1] == "3"
    assert spelled[-2:] == ["--precision", "bf16"]


def test_tells_the_last_words_of_what_failed(checkout):
    (checkout / "training" / "networks.py").write_text("import no_such_thing")
    with pytest.raises(
        ValueError, match=r"official.py failed \(ModuleNotFoundError: No module named 'no_such_thing'\)"
    ):
        compare.theirs(Setting(resolution="16"), checkout)


def test_misses_what_the_official_code_requires_before_anything_is_timed(checkout, monkeypatch):
    (checkout / "training" / "loss.py").write_text("import no_such_thing")
    monkeypatch.setattr(compare, "compare", lambda *_: pytest.fail("something was timed"))
    result = CliRunner().invoke(compare.main, ["--official", str(checkout)])
    assert result.exit_code == 2
    assert f"--official {checkout} does not start (ModuleNotFoundError: No module named 'no_such" in result.output


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


@pytest.mark.parametrize(
    "device, precision, official", [("cpu", "bf16", "fp32"), ("cuda", "bf16", "fp16"), ("cuda", "tf32", "tf32")]
)
def test_the_official_code_computes_in_its_fastest_format(device, precision, official):
    assert compare.official_precision(Setting(device=device, precision=precision)) == official
