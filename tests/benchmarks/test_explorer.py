"""The benchmark of the page in Chromium."""

import shutil

import pytest
from click.testing import CliRunner

from benchmarks import explorer
from tests.explorer.conftest import CHROMIUM
from tests.networks import save_tiny


def test_it_times_every_kind_of_event(tmp_path, monkeypatch):
    pytest.importorskip("playwright.sync_api", reason="playwright is missing: requirements-dev.txt has it")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    network = save_tiny(tmp_path / "a.safetensors")
    result = CliRunner().invoke(explorer.main, ["--network", str(network), "--count", "4"], catch_exceptions=False)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[-4:]]
    assert [int(row[-1]) > 0 and 0 < float(row[-3]) <= float(row[-2]) for row in rows] == [True] * 4


def test_without_a_browser_it_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"), explorer.tab(""):
        pass
