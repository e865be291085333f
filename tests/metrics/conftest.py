import pytest

from system import resources


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Nothing is read from the user's cache, and nothing written to it. Native operators are still found in theirs."""
    monkeypatch.setattr(resources, "FOLDER", str(tmp_path / "cache"))
