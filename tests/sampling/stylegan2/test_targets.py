import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imaging.filenames import SOURCE_KINDS
from imaging.pixels import from_pil
from models.stylegan2.config import GeneratorConfig
from sampling.stylegan2.targets import read_targets


def _config(channels=3, height=16, width=16):
    return GeneratorConfig(height=height, width=width, channels=channels)


def _save(path, mode="RGB", size=(16, 16)):
    values = np.random.RandomState(0).randint(0, 256, [size[1], size[0], 4]).astype(np.uint8)
    Image.fromarray(values, "RGBA").convert(mode).save(path)
    return path


def _read(*places, **config):
    return read_targets([str(place) for place in places], _config(**config))


def test_a_picture_that_fits_is_taken_as_it_is(tmp_path):
    path = _save(tmp_path / "a.png")
    (target,) = _read(path)
    assert (target.name, target.changes) == (str(path), ())
    assert np.array_equal(target.pixels, from_pil(Image.open(path)))


@pytest.mark.parametrize(
    ("size", "shape", "changes"),
    [
        ((32, 32), (16, 16), "reduced from 32x32 to 16x16"),
        ((40, 32), (16, 16), "its middle cut out and reduced from 40x32 to 16x16"),
        ((8, 8), (16, 16), "enlarged from 8x8 to 16x16"),
        ((12, 30), (16, 16), "its middle cut out and enlarged from 12x30 to 16x16"),
        ((24, 48), (24, 12), "reduced from 24x48 to 12x24"),
    ],
)
def test_pictures_of_any_size_are_fitted(tmp_path, size, shape, changes):
    path = _save(tmp_path / "a.png", size=size)
    (target,) = _read(path, height=shape[0], width=shape[1])
    assert target.changes == (changes,) and tuple(target.pixels.shape) == (3, *shape)
    if size == (40, 32):
        middle = Image.open(path).crop((4, 0, 36, 32)).resize((16, 16), Image.Resampling.LANCZOS)
        differences = (target.pixels - torch.from_numpy(from_pil(middle)).float())[..., 2:-2]  # what lies beyond counts
        assert float(differences.abs().max()) <= 1


@pytest.mark.parametrize(
    ("mode", "channels", "changes"),
    [
        ("L", 1, ()),
        ("L", 3, ("gray made RGB",)),
        ("L", 4, ("gray made RGBA",)),
        ("RGB", 1, ("RGB made gray",)),
        ("RGB", 4, ("RGB made RGBA",)),
        ("RGBA", 1, ("laid on white where it is transparent", "RGB made gray")),
        ("RGBA", 3, ("laid on white where it is transparent",)),
        ("RGBA", 4, ()),
    ],
)
def test_every_kind_becomes_that_of_the_network(tmp_path, mode, channels, changes):
    (target,) = _read(_save(tmp_path / "a.png", mode), channels=channels)
    assert target.changes == changes and target.pixels.shape == (channels, 16, 16)
    assert target.pixels.dtype == torch.uint8
    if (mode, channels) == ("RGB", 4):
        assert bool((target.pixels[3] == 255).all())


def test_what_is_transparent_becomes_white(tmp_path):
    Image.new("RGBA", (16, 16), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (16, 16), (10, 20, 30, 255)).save(tmp_path / "full.png")
    clear, full = _read(tmp_path / "clear.png", tmp_path / "full.png")
    assert bool((clear.pixels == 255).all())
    assert full.changes == () and full.pixels[:, 0, 0].tolist() == [10, 20, 30]


def test_several_by_commas_folders_and_zips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("many").mkdir()
    for name in ("b.png", "a.jpg", "a, b.png", "many/2.webp", "many/1.png"):
        _save(Path(name))
    Path("many/notes.txt").write_text("none")
    with zipfile.ZipFile("c.zip", "w") as archive:
        archive.write("b.png", "deep/x.png")
    assert [target.name for target in _read("b.png, a.jpg", "many", "c.zip", "a, b.png")] == [
        "b.png",
        "a.jpg",
        "many/1.png",
        "many/2.webp",
        "c.zip/deep/x.png",
        "a, b.png",
    ]


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("none")
    Path("bad.png").write_bytes(b"none")
    Path("empty").mkdir()
    for place, kind, words in [
        ("none.png", FileNotFoundError, "--target none.png: there is no such picture or folder; check the path"),
        (
            "notes.txt",
            ValueError,
            f"--target notes.txt is no picture: give one ({SOURCE_KINDS}), or a folder or ZIP of them",
        ),
        ("bad.png", ValueError, "bad.png cannot be decoded: not an image of a known format"),
        (" , ", ValueError, "--target names no picture: give a file, a folder or a ZIP"),
    ]:
        with pytest.raises(kind) as error:
            _read(place)
        assert str(error.value) == words
    with pytest.raises(ValueError, match="empty"):
        _read("empty")
