import pytest

from torch_utils import download


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Nothing is read from the user's cache, and nothing written to it. Native operators are still found in theirs."""
    monkeypatch.setattr(download, "FOLDER", str(tmp_path / "cache"))
