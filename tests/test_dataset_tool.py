import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dataset_tool import main
from imaging.dataset import DataConfig, open_dataset
from tests.imaging.pictures import Files, encoded, index, picture, png_header, write_folder, write_zip

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


def refusal(*arguments):
    """The sentence that a run ends with; there must be no traceback behind it."""
    result = run(*arguments)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


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
        "  bomb.png has 10000x10000 = 100 megapixels; at most 50 are accepted",
    ):
        assert line in result.output


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
    assert dataset.channels == channels and dataset.notes == ()


def test_a_part_of_the_pictures(tmp_path):
    source = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(9)})
    run("--source", source, "--dest", tmp_path / "out.zip", "--max-images", 4)
    part, same = opened(tmp_path / "out.zip"), opened(source, max_images=4)
    assert len(part) == 4 and all(np.array_equal(part[i][0], same[i][0]) for i in range(4))


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path):
    source, dest = write_folder(tmp_path / "in", {"a.png": picture()}), tmp_path / "out.zip"
    dest.write_bytes(b"precious")
    assert refusal("--source", source, "--dest", dest) == (
        f"Error: --dest {dest} is there already: name another file, or add --overwrite"
    )
    assert dest.read_bytes() == b"precious"
    assert run("--source", source, "--dest", dest, "--overwrite").exit_code == 0
    assert len(opened(dest)) == 1


def test_a_failed_run_damages_nothing(tmp_path, monkeypatch):
    source, dest = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(3)}), tmp_path / "out.zip"
    dest.write_bytes(b"precious")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left" in refusal("--source", source, "--dest", dest, "--overwrite")
    assert dest.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.zip"]


def test_a_set_can_be_remade_in_place(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"a.png": picture(40, 40)})
    assert run("--source", path, "--dest", path, "--resolution", "16", "--overwrite").exit_code == 0
    assert opened(path).width == 16


SIZES = "both sides must come from a base of at least 3 and together at most 256 pixels by doubling"


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"x.txt": b"x"}, [], "Error: {source} holds no images (png, jpg, jpeg, webp, bmp, tif, tiff, gif)"),
        (
            {"a.png": b"x"},
            [],
            "Error: none of the 1 images of {source} can be read: "
            "a.png cannot be decoded: it is not a picture of a known format",
        ),
        (
            {"a.png": picture(16, 16), "b.png": picture(40, 30)},
            [],
            "Error: the images have different sizes, such as 16x16 (a.png) and 40x30 (b.png): "
            "give --resolution, such as 16x16",
        ),
        (
            {"a.png": picture()},
            ["--resolution", "7"],
            f"Error: a network cannot have the size 7x7: {SIZES}; the nearest size that works is 8x8",
        ),
        (
            {"a.png": picture(9, 9)},
            [],
            f"Error: a network cannot have the size 9x9: {SIZES}; the nearest size that works is 10x10",
        ),
        (
            {"a.png": picture(), "dataset.json": index([["a.png", "x"]])},
            [],
            "Error: the label of a.png in dataset.json of {source} is 'x': "
            "labels must be class numbers 0, 1, 2, ... below 100000",
        ),
    ],
)
def test_refusals(tmp_path, files, options, message):
    source = write_folder(tmp_path / "in", files)
    assert refusal("--source", source, "--dest", tmp_path / "out.zip", *options) == message.format(source=source)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_all_broken_after_their_headers(tmp_path):
    whole = encoded(picture())
    source = write_folder(tmp_path / "in", {"a.png": whole[: len(whole) // 2]})
    message = refusal("--source", source, "--dest", tmp_path / "out.zip")
    assert message == (
        f"Error: none of the images of {source} can be decoded: a.png cannot be decoded: image file is truncated"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_sources_that_are_not_there_or_no_zip(tmp_path):
    missing = tmp_path / "no"
    assert refusal("--source", missing, "--dest", "x.zip") == (
        f"Error: {missing} does not exist: give a ZIP or a folder of images"
    )
    text = tmp_path / "a.zip"
    text.write_bytes(b"text")
    assert refusal("--source", text, "--dest", tmp_path / "x.zip").startswith(
        f"Error: {text} is not a complete ZIP file ("
    )
