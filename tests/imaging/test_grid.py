import numpy as np
import pytest
import torch
from PIL import Image

from imaging.grid import save_image, sheet, tile
from tests.imaging.pictures import picture


def test_tiles_stand_row_by_row():
    pixels = torch.stack([torch.full((3, 2, 4), i, dtype=torch.uint8) for i in range(1, 6)])
    image = tile(pixels, columns=3)
    assert image.size == (12, 4)
    array = np.asarray(image)[:, :, 0]
    assert array[0].tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert array[3].tolist() == [4] * 4 + [5] * 4 + [255] * 4


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_tiles_of_every_kind(channels, mode):
    assert tile(torch.zeros(2, channels, 3, 5, dtype=torch.uint8), columns=2).mode == mode


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_saved_pictures_come_back(tmp_path, ending):
    path = tmp_path / "new" / f"a.{ending}"
    save_image(picture(), path)
    assert Image.open(path).convert("RGB").tobytes() == picture().tobytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_jpeg_lays_transparency_on_white(tmp_path):
    save_image(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").getpixel((4, 4)) == (255, 255, 255)


def test_a_failed_save_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_image(picture(), path)
    before = path.read_bytes()

    def half(self, file, **options):
        file.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_image(picture(seed=1), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_unknown_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gif cannot be written as a picture: the name must end in .png, .webp or"):
        save_image(picture(), tmp_path / "a.gif")


@pytest.mark.parametrize("size", [8, 64])
def test_sheets_show_every_tile_and_room_for_the_labels(size):
    rows = [[picture(size, size, seed=10 * j + i) for i in range(3)] for j in range(2)]
    image = sheet(rows, ["psi 0.5", "psi 1.0"], ["seed 1000", "seed 1001", "seed 1002"])
    array = np.asarray(image)
    tiles = [np.asarray(each) for row in rows for each in row]
    places = [place for tile_ in tiles for place in _find(array, tile_)]
    assert len(places) == 6
    assert len({x for x, _ in places}) == 3 and len({y for _, y in places}) == 2
    left, top = min(x for x, _ in places), min(y for _, y in places)
    assert (array[top:, :left] < 128).any() and (array[:top, left:] < 128).any(), "labels are written"


def _find(array, tile_):
    height, width = tile_.shape[:2]
    ys, xs = np.where((array == tile_[0, 0]).all(axis=2))
    return [(x, y) for y, x in zip(ys, xs, strict=True) if np.array_equal(array[y : y + height, x : x + width], tile_)]


def test_labels_are_optional_and_counted():
    rows = [[picture()] * 2]
    assert sheet(rows, [], []).size == (34, 16)
    with pytest.raises(ValueError, match="a sheet of 1 rows and 2 columns got 0 row labels and 1 column labels"):
        sheet(rows, [], ["a"])
