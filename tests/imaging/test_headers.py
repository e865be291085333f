"""Fingerprints of a set's content."""

import json
import os

import numpy as np
import pytest

from imaging import headers
from imaging.dataset import DataConfig, open_dataset
from imaging.pixels import encode_png, to_pil
from tests.imaging.pictures import encoded, picture, write_folder, write_zip

FORMER = "64b2074bc36d25b1615bc22465c62ea41894bc4b52c48aaf8c80f6aea925e127"  # what an earlier version recorded ...
FORMER_FOLDERS = "546267159d91e1cc193c54afed5f16e3e7d73e14d470f6e2ba2579ee5cc30994"  # of these files
ZIPPED = "8d65d184cf15d243cf896af32e67c1832b094c0354bc61c195ff9d09ebcb1c07"


def files():
    found = {}
    for i in range(4):
        pixels = np.random.RandomState(i).randint(0, 256, (3, 64, 64)).astype(np.uint8)
        found[f"b{i % 2}/{i}.png"] = encode_png(to_pil(pixels))
    labels = [[f"b{i % 2}/{i}.png", i % 2] for i in range(4)]
    return found | {"dataset.json": json.dumps({"labels": labels}).encode()}


def opened(path, **more):
    return open_dataset(DataConfig(path=str(path), **more))


def test_fingerprints_of_earlier_versions_are_known(tmp_path):
    folder = write_folder(tmp_path / "set", files())
    assert opened(folder).is_known_as(FORMER) and opened(folder).fingerprint != FORMER
    assert opened(folder, labels="folders", mirror=True).is_known_as(FORMER_FOLDERS)
    assert opened(write_zip(tmp_path / "a.zip", files())).fingerprint == ZIPPED
    assert not opened(folder, mirror=True).is_known_as(FORMER)


@pytest.mark.parametrize("largest", [headers.WHOLE_BYTES, 0])
def test_a_change_in_the_middle_of_a_picture_is_noticed(tmp_path, monkeypatch, largest):
    monkeypatch.setattr(headers, "WHOLE_BYTES", largest)
    content = {f"{i}.jpg": encoded(picture(128, 128, seed=i), "JPEG", quality=95) for i in range(8)}
    folder = write_folder(tmp_path / "set", content)
    before = opened(folder).fingerprint
    for name, data in content.items():
        middle = len(data) // 2
        assert len(data) > 18_000
        (folder / name).write_bytes(data[:middle] + bytes(2000) + data[middle + 2000 :])
    after = opened(folder)
    assert not after.is_known_as(before)


def test_a_copy_elsewhere_is_the_same_set(tmp_path):
    one, other = write_folder(tmp_path / "a", files()), write_folder(tmp_path / "b", files())
    os.utime(other / "b0" / "0.png", (0, 0))
    assert opened(one).fingerprint == opened(other).fingerprint


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The headers of even the smallest set are kept, and it is counted how many are read."""
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "MANY", 2)
    read, facts = [], headers._facts
    monkeypatch.setattr(headers, "_facts", lambda *given: read.append(given[2]) or facts(*given))
    return read


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_headers_are_read_once(tmp_path, kept, write):
    path = write(tmp_path / "set.zip", files())
    first = opened(path)
    assert len(kept) == 4
    again = opened(path)
    assert (
        len(kept) == 4
        and again.fingerprint == first.fingerprint
        and again.former_fingerprints == first.former_fingerprints
    )
    assert np.array_equal(again[2][0], first[2][0])
    changed = files() | {"b0/0.png": encode_png(to_pil(np.zeros((3, 64, 64), np.uint8)))}
    write(tmp_path / "set.zip", changed)
    assert opened(path).fingerprint != first.fingerprint and len(kept) == 8


def test_a_change_is_noticed_though_size_and_time_stay(tmp_path, kept):
    path = write_folder(tmp_path / "set", files())
    first = opened(path).fingerprint
    file = path / "b0" / "0.png"
    state, data = file.stat(), bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert opened(path).fingerprint != first


def test_a_zip_that_was_written_to_is_read_again(tmp_path, kept):
    """The list of a ZIP, with sizes and checksums, stays when bytes of its pictures change."""
    path = write_zip(tmp_path / "set.zip", files())
    opened(path)
    size, data = path.stat().st_size, path.read_bytes()
    path.write_bytes(data.replace(b"IHDR", b"XXXX"))
    assert path.stat().st_size == size and len(kept) == 4
    with pytest.raises(ValueError, match=r"0\.png"):
        opened(path)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 100_000, b'["x", []]'])
def test_damaged_and_unwritable_caches_do_no_harm(tmp_path, kept, monkeypatch, damage):
    path = write_folder(tmp_path / "set", files())
    first = opened(path).fingerprint
    (cache,) = (tmp_path / "cache").rglob("headers-*.json")
    cache.write_bytes(damage)
    assert opened(path).fingerprint == first and len(kept) == 8
    (tmp_path / "flat").write_bytes(b"")
    monkeypatch.setenv("SHARD_CACHE", str(tmp_path / "flat" / "x"))
    assert opened(path).fingerprint == first and len(kept) == 12
