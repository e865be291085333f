"""Every test of shards has a cache of its own."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SHARD_CACHE_GB", raising=False)
    monkeypatch.setattr("imaging.shards.store.PAUSES", (0.0, 0.0))
