from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dataset_tool import main
from imaging.dataset import DataConfig, open_dataset
from tests.imaging.pictures import Files, encoded, index, picture, png_header, write_folder, write_zip

ROOT = Path(__file__).parents[1]
FILES: Files = {
    "a/tall.png": picture(20, 40, seed=1),
    "a/wide.jpg": encoded(picture(60, 30, seed=2), "JPEG"),
    "b/small.webp": encoded(picture(10, 8, seed=3), "WEBP"),
    "b/grey.bmp": encoded(picture(40, 40, "L", seed=4), "BMP"),
    "b/old.tif": encoded(picture(33, 17, seed=5), "TIFF"),
    "moving.gif": encoded(picture(24, 24, seed=6), "GIF", save_all=True, append_images=[picture(24, 24, seed=7)]),
}


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def opened(path, **options):
    return open_dataset(DataConfig(path=str(path), **options))


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_any_pictures_become_one_set(tmp_path, write):
    source, dest = write(tmp_path / "in.zip", FILES), tmp_path / "out.zip"
    result = run("--source", source, "--dest", dest, "--resolution", "32x24")
    assert result.exit_code == 0, result.output
    assert f"wrote 6 RGB images of 32x24 to {dest}" in result.output
    assert "4 images were smaller than that and had to be enlarged" in result.output
    dataset = opened(dest)
    assert (len(dataset), dataset.height, dataset.width, dataset.channels) == (6, 24, 32, 3)
    assert dataset.notes == ()
    assert [dataset[i][0].shape for i in range(6)] == [(3, 24, 32)] * 6


def test_pictures_of_the_right_size_keep_every_pixel(tmp_path):
    source = write_folder(tmp_path / "in", {f"{i}.png": picture(16, 32, seed=i) for i in range(3)})
    assert run("--source", source, "--dest", tmp_path / "out.zip").exit_code == 0
    before, after = opened(source), opened(tmp_path / "out.zip")
    assert all(np.array_equal(before[i][0], after[i][0]) for i in range(3))


def test_cameras_held_sideways(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 16))
    source = write_folder(tmp_path / "in", {"a.jpg": encoded(image, "JPEG", exif=exif)})
    run("--source", source, "--dest", tmp_path / "out.zip", "--resolution", "16x32")
    pixels, _ = opened(tmp_path / "out.zip")[0]
    assert pixels[:, :12].min() > 200 and pixels[:, 20:].max() < 50, "the bright half is on top"


def test_labels_follow_their_pictures(tmp_path):
    names = ["c.png", "a.png", "b.png"]
    files: Files = {name: picture(16, 16, seed=i) for i, name in enumerate(names)}
    files["b.png"] = b"broken"
    labels = index([[name, i] for i, name in enumerate(names)])
    source = write_zip(tmp_path / "in.zip", files | {"dataset.json": labels})
    result = run("--source", source, "--dest", tmp_path / "out.zip")
    assert "labels from dataset.json: 3 classes" in result.output
    dataset = opened(tmp_path / "out.zip")
    assert [dataset[i][1] for i in range(2)] == [1, 0] and dataset.classes == 3
    assert np.array_equal(dataset[1][0], np.asarray(picture(16, 16, seed=0)).transpose(2, 0, 1))


def test_sub_folders_become_classes_with_names(tmp_path):
    source = write_folder(tmp_path / "in", {"dog/1.png": picture(), "cat/1.png": picture(seed=1)})
    result = run("--source", source, "--dest", tmp_path / "out.zip", "--labels", "folders")
    assert "wrote 2 RGB images of 16x16" in result.output
    assert "labels from sub-folders: 2 classes" in result.output
    dataset = opened(tmp_path / "out.zip")
    assert dataset.class_names == ("cat", "dog") and [dataset[i][1] for i in range(2)] == [0, 1]


def test_broken_pictures_are_named_and_left_out(tmp_path):
    whole = encoded(picture(seed=9))
    files: Files = {f"{i}.png": picture(seed=i) for i in range(3)}
    files |= {"bad.png": b"nothing", "half.png": whole[: len(whole) // 2], "bomb.png": png_header(10000, 10000)}
    source = write_zip(tmp_path / "in.zip", files)
    result = run("--source", source, "--dest", tmp_path / "out.zip")
    assert result.exit_code == 0 and len(opened(tmp_path / "out.zip")) == 3
    for line in (
        "3 broken images were left out:",
        "  bad.png cannot be decoded: it is not a picture of a known format",
        "  half.png cannot be decoded: image file is truncated",
        "  bomb.png has 10000x10000 = 100 megapixels, more than the 50 megapixels that are accepted: make it smaller",
    ):
        assert line in result.output


def test_one_of_each_is_singular(tmp_path):
    source = write_folder(tmp_path / "in", {"a.png": picture(), "b.png": b"x"})
    told = run("--source", source, "--dest", tmp_path / "out.zip", "--resolution", "32").output
    assert f"wrote 1 RGB image of 32x32 to {tmp_path / 'out.zip'}\n" in told
    assert "1 image was smaller than that and had to be enlarged\n1 broken image was left out:\n" in told


def test_at_most_twenty_are_named(tmp_path):
    source = write_folder(tmp_path / "in", {"ok.png": picture()} | {f"{i}.png": b"x" for i in range(23)})
    result = run("--source", source, "--dest", tmp_path / "out.zip")
    assert "23 broken images were left out:" in result.output and "  ... and 3 more" in result.output
    assert result.output.count("cannot be decoded") == 20


@pytest.mark.parametrize(
    ("images", "channels"),
    [
        ([picture(mode="L"), picture(mode="L", seed=1)], 1),
        ([picture(mode="L"), picture(seed=1)], 3),
        ([picture(), picture(mode="RGBA", seed=1)], 4),
        ([picture().convert("RGBA"), picture(seed=1).convert("RGBA")], 3),  # transparency that nothing uses
    ],
)
def test_one_mode_for_all(tmp_path, images, channels):
    source = write_folder(tmp_path / "in", {f"{i}.png": image for i, image in enumerate(images)})
    run("--source", source, "--dest", tmp_path / "out.zip")
    dataset = opened(tmp_path / "out.zip")
    assert dataset.channels == channels and len(dataset.notes) == (channels == 4)


def test_a_part_of_the_pictures(tmp_path):
    source = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(9)})
    run("--source", source, "--dest", tmp_path / "out.zip", "--max-images", 4)
    part, same = opened(tmp_path / "out.zip"), opened(source, max_images=4)
    assert len(part) == 4 and all(np.array_equal(part[i][0], same[i][0]) for i in range(4))


def test_a_set_can_be_remade_in_place(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"a.png": picture(40, 40)})
    assert run("--source", path, "--dest", path, "--resolution", "16", "--overwrite").exit_code == 0
    assert opened(path).width == 16
