import pytest


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    """Nothing is read from the user's cache, and nothing written to it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
