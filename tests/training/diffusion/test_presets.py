"""The presets against the papers' tables, and settings that do not fit."""

import pytest

from tests.commands import refused, run
from tests.training.diffusion.recipes import settled


@pytest.mark.parametrize(
    "model, side, batch, kimg, lr, decay",
    [  # Peebles and Xie 2023, section 4; Dhariwal and Nichol 2021, appendix
        ("dit-s/2", 32, 256, 102_400, 1e-4, 0),
        ("adm", 64, 2048, 1_105_920, 3e-4, 0),
        ("adm", 128, 256, 1_116_160, 1e-4, 0),
        ("adm", 256, 256, 506_880, 1e-4, 0),
        ("adm", 512, 256, 496_640, 1e-4, 0),
        ("noise-classifier", 64, 1024, 307_200, 6e-4, 0.2),
        ("noise-classifier", 128, 256, 76_800, 3e-4, 0.05),
        ("noise-classifier", 256, 256, 128_000, 3e-4, 0.05),
    ],
)
def test_paper(model, side, batch, kimg, lr, decay):
    config, _ = settled(model, "paper", side, classes=1000)
    o, noise = config.optimizer, config.network.noise
    assert (config.pace.batch, config.pace.kimg, o.lr, o.weight_decay) == (batch, kimg, lr, decay)
    assert (o.beta1, o.beta2, o.epsilon, o.warm_up) == (0.9, 0.999, 1e-8, 0)
    assert 0.5 ** (batch / (1000 * config.average.kimg[0])) == pytest.approx(0.9999, rel=1e-7)
    assert config.average.ramp == 0 and noise.objective == "eps"
    assert noise.schedule == ("cosine" if side == 64 else "linear")
    if model == "noise-classifier":
        return
    assert noise.learned_variance and config.loss.kind == "hybrid"
    assert (config.sampling.steps, config.sampling.solver) == (250, "ddpm")
    assert config.loss.label_dropout == (0.1 if model == "dit-s/2" else 0)


@pytest.mark.parametrize(
    "side, channels, blocks, mult, dropout",
    [(64, 192, 3, (1, 2, 3, 4), 0.1), (128, 256, 2, (1, 1, 2, 3, 4), 0), (256, 256, 2, (1, 1, 2, 2, 4, 4), 0)],
)
def test_paper_has_the_published_u_nets(side, channels, blocks, mult, dropout):
    network = settled("adm", "paper", side, classes=1000)[0].network
    assert (network.model_channels, network.res_blocks, network.mult) == (channels, blocks, mult)
    assert [side // factor for factor in network.attention] == [32, 16, 8]
    assert (network.groups, network.dropout, network.null_class, network.conditioning) == (32, dropout, False, "adagn")


def test_paper_says_where_the_paper_has_no_network():
    config, notes = settled("adm", "paper", 32, 10)
    assert "the paper has networks for sides of 64, 128, 256, 512" in notes[-1]
    assert config.network == settled("adm", "paper", 32, 10)[0].network and config.network.model_channels == 128


@pytest.mark.parametrize(
    "model, side, at_once",
    [
        *(("dit-s/2", 32, 64), ("dit-s/4", 64, 64), ("dit-s/16", 256, 64), ("dit-xl/2", 32, 8), ("dit-s/2", 256, 1)),
        *(("adm", 32, 128), ("adm", 64, 32), ("adm", 256, 2), ("noise-classifier", 32, 128)),
    ],
)
def test_auto_computes_at_once_what_fits_8_gib(model, side, at_once):
    config, notes = settled(model, "auto", side, 10)
    assert (config.pace.batch, config.pace.batch_gpu) == (128, at_once)
    assert config.optimizer.lr == (1e-4 if model == "dit-xl/2" else 3e-4) and config.network.noise.objective == "flow"
    assert any("16384 tokens" in note for note in notes) == ((model, side) == ("dit-s/2", 256))
    assert settled(model, "auto", side, 10, world=16)[0].pace.batch_gpu == min(at_once, 8)


@pytest.mark.parametrize(
    "width, groups, head", [(128, 32, 64), (32, 8, 32), (48, 12, 48), (64, 16, 64), (8, 2, 8), (6, 1, 6), (100, 25, 50)]
)
def test_groups_and_heads_follow_the_width(width, groups, head):
    network = settled("adm", side=32, **{"denoiser.model_channels": width})[0].network
    assert (network.groups, network.head_channels, network.mult) == (groups, head, (1, 2, 2))
    assert settled("adm", side=32, **{"denoiser.heads": 2})[0].network.head_channels == 0
    assert settled("adm", side=33)[0].network.mult == (1,)


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("model", ["dit-ti/4", "adm", "noise-classifier"])
def test_without_a_gpu_auto_is_small(model, device):
    config, notes = settled(model, side=32, classes=3, device=device)
    demo = settled(model, "demo", 32, 3)[0]
    assert config.preset == "small" and config.pace.kimg == 2 * demo.pace.kimg
    assert (config.network, config.optimizer, config.average) == (demo.network, demo.optimizer, demo.average)
    assert [note.partition(":")[0] for note in notes] == ["--preset small"]
    full = settled(model, "full", 32, 3, device=device)[0]
    assert full.network == settled(model, side=32, classes=3)[0].network and full.pace.batch == 128


def test_notes():
    assert settled("dit-s/2", classes=2)[1] == ()
    assert settled("dit-s/2")[0].average.ramp == 0.1
    assert settled("dit-s/2", **{"average.kimg": (5.0, 50.0)})[0].average.ramp == 0  # as given
    assert "have no classes" in settled("dit-s/2")[1][0]
    config, notes = settled("dit-s/2", classes=2, precision="fp16")
    assert config.precision == "fp32" and "computes in fp32" in notes[0]


REFUSED = {
    "patch": ("dit-s/16", {"side": 24}, "patches of 16 pixels do not divide pictures of 24x24: take patches of 8"),
    "heads": ("dit-s/2", {"denoiser.heads": 7}, "7 heads do not divide the width 384: take 6"),
    "groups": ("adm", {"denoiser.groups": 7}, "7 groups do not divide 128 feature maps: set groups to a divisor"),
    "head": ("adm", {"denoiser.head_channels": 60}, "heads do not divide 128 feature maps: set head_channels to"),
    "variance": ("dit-s/2", {"denoiser.noise.learned_variance": True}, "a flow has no variances: give --objective eps"),
    "bound": ("adm", {"loss.kind": "bound"}, "a flow has no variances"),
    "null": ("adm", {"denoiser.null_class": False, "classes": 3}, "no row for pictures without a class: give --label-"),
    "scale": ("dit-s/2", {"sampling.cfg_scale": 2.0}, "sampling.cfg_scale=2 needs a network that also learns without"),
    "classes": ("noise-classifier", {}, "needs data with classes"),
    "share": ("dit-s/2", {"world": 3}, "--batch 128 is not a multiple of the 3 processes"),
    "rounds": ("dit-s/2", {"pace.batch_gpu": 48}, "--batch-gpu 48 does not divide the 128 images"),
    "averages": ("dit-s/2", {"average.kimg": (1.0, 2.0, 3.0, 4.0)}, "expected 1 to 3 half-lives"),
    "dropout": ("adm", {"denoiser.dropout": 0.1, "compile": True}, "do not work with dropout"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    model, given, said = REFUSED[case]
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        settled(model, **given)


def test_refusals_are_one_sentence(tmp_path):
    words = ("--data", "demo:12", "--outdir", str(tmp_path), "--device", "cpu")
    said = refused(run("--model", "dit-ti/8", *words))
    assert said == "patches of 8 pixels do not divide pictures of 12x12: take patches of 4, as in --model dit-s/4"
    assert "--label-dropout does not apply to noise-classifier" in refused(
        run("--model", "noise-classifier", *words, "--label-dropout", "0")
    )
