import pytest
import torch
from click.testing import CliRunner

from benchmarks import kernels
from custom_ops.proof import REFERENCES, calls


def test_bytes_are_those_of_all_tensors(monkeypatch):
    copied = []
    monkeypatch.setattr(kernels, "fastest", lambda call, seconds, device: copied.append(call()) or len(copied))
    name, arguments = calls((1, 2, 8, 8), lambda *shape: torch.randn(shape))["upsample2d"]
    found = kernels.measure(name, list(arguments), torch.device("cpu"))
    assert found == (1, 2, 3)
    assert copied[2].numel() == (128 + 512 + 16) * 4 // 2
    torch.testing.assert_close(copied[0], copied[1])


def test_every_operator_is_timed(monkeypatch):
    monkeypatch.setattr(kernels, "SECONDS", 0.0)
    assert {name for name, _ in calls((1, 2, 8, 8), lambda *shape: torch.randn(shape)).values()} == set(REFERENCES)
    done = CliRunner().invoke(kernels.main, ["--features", "8x4x6", "--batch", "2", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) >= 3 + 13 * 4 and "1 threads, PyTorch" in done.stdout


@pytest.mark.parametrize("features", ["64", "axbxc"])
def test_refuses_in_one_sentence(features):
    done = CliRunner().invoke(kernels.main, ["--features", features])
    assert done.exit_code == 2
    assert f"--features {features}: give channels, height and width, such as 64x128x128" in done.output
