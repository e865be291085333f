import numpy as np
import pytest
import torch
from PIL import Image

from imaging.grid import captioned, enlargement, save_image, sheet, tile
from tests.imaging.pictures import picture, places


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
    with pytest.raises(ValueError, match=r"a\.gif cannot be written as an image: the name must end in .png, .webp or"):
        save_image(picture(), tmp_path / "a.gif")


@pytest.mark.parametrize("size", [8, 64, 300])
def test_sheets_show_every_tile_and_room_for_the_labels(size):
    rows = [[picture(size, size, seed=10 * j + i) for i in range(3)] for j in range(2)]
    image = sheet(rows, ["psi 0.5", "psi 1.0"], ["seed 1000", "seed 1001", "seed 1002"])
    found = [places(image, each, 2, 3) for row in rows for each in row]
    assert all(len(place) == 1 for place in found)
    xs, ys = {place[0][0] for place in found}, {place[0][1] for place in found}
    assert len(xs) == 3 and len(ys) == 2
    array = np.asarray(image)
    assert (array[min(ys) :, : min(xs)] < 128).any() and (array[: min(ys), min(xs) :] < 128).any(), "labels are written"


def test_labels_are_optional_and_counted():
    rows = [[picture(600, 500)] * 2]
    assert sheet(rows, [], []).size == (600 + 9 + 600, 500)
    with pytest.raises(ValueError, match="a sheet of 1 rows and 2 columns got 0 row labels and 1 column labels"):
        sheet(rows, [], ["a"])


@pytest.mark.parametrize(
    ("size", "rows", "columns", "factor"),
    [
        ((32, 32), 1, 1, 8),  # as large as a tile gets
        ((64, 64), 1, 2, 4),
        ((32, 32), 10, 10, 3),
        ((64, 64), 6, 5, 2),
        ((48, 96), 2, 3, 2),
        ((64, 64), 10, 10, 1),  # fills the sheet as it is
        ((1024, 1024), 1, 1, 1),
        ((16, 16), 1, 2000, 1),
    ],
)
def test_small_pictures_are_enlarged_by_whole_factors(size, rows, columns, factor):
    assert enlargement(size, rows, columns) == factor


def test_enlarged_tiles_keep_their_pixels():
    pixels = torch.randint(0, 256, (3, 4, 16, 8), dtype=torch.uint8)
    plain, large = tile(pixels, 2), tile(pixels, 2, enlarged=True)
    assert plain.size == (16, 32) and large.size == (16 * 16, 32 * 16) and large.mode == plain.mode == "RGBA"
    assert large.resize(plain.size, Image.Resampling.NEAREST).tobytes() == plain.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_rows_get_their_names_and_the_picture_stays_as_it_is(mode):
    image = picture(64, 32, mode)
    named = captioned(image, ["cat", "a dog"])
    left = named.width - image.width
    assert named.mode == mode and named.height == 32 and left > 20
    assert named.crop((left, 0, named.width, 32)).tobytes() == image.tobytes()
    margin = np.asarray(named.crop((0, 0, left, 32)).convert("L"))
    assert margin[:16].min() < 128 and margin[16:].min() < 128 and margin[0].min() == 255


def test_every_sheet_is_known_as_one_and_a_single_picture_is_none(tmp_path):
    pixels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    sheets = [tile(pixels, 2), tile(pixels[:1], 1, enlarged=True), captioned(tile(pixels, 1), ["a", "b"])]
    for image, is_sheet in [*((each, True) for each in sheets), (tile(pixels[:1], 1), False)]:
        save_image(image, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as saved:
            assert bool(saved.getexif()) == is_sheet
