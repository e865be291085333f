import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dataset_tool
from dataset_tool import main
from imaging.dataset import DataConfig, open_dataset
from tests.imaging.pictures import Files, encoded, index, picture, png_header, write_folder, write_zip
from tests.imaging.sources.files import tarred

ROOT = Path(__file__).parents[1]
FILES: Files = {
    "a/tall.png": picture(20, 40, seed=1),
    "a/wide.jpg": encoded(picture(60, 30, seed=2), "JPEG"),
    "b/small.webp": encoded(picture(10, 8, seed=3), "WEBP"),
    "b/gray.bmp": encoded(picture(40, 40, "L", seed=4), "BMP"),
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
    assert "enlarged 4 images" in result.output
    dataset = opened(dest)
    assert (len(dataset), dataset.height, dataset.width, dataset.channels) == (6, 24, 32, 3)
    assert dataset.notes == ()
    assert [dataset[i][0].shape for i in range(6)] == [(3, 24, 32)] * 6


def test_a_size_that_stylegan2_cannot_have_comes_with_a_hint(tmp_path):
    source = write_folder(tmp_path / "in", {"a.png": picture(33, 33)})
    for arguments in (["--source", source, "--dest", tmp_path / "out.zip"], ["inspect", source]):
        told = run(*arguments).output
        assert "note: StyleGAN2 cannot have the size 33x33: " in told and "a size near it is 32x32\n" in told
    assert opened(tmp_path / "out.zip").height == 33


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
    files |= {"bad.png": b"nothing", "half.png": whole[: len(whole) // 2], "bomb.png": png_header(30000, 30000)}
    source = write_zip(tmp_path / "in.zip", files)
    result = run("--source", source, "--dest", tmp_path / "out.zip")
    assert result.exit_code == 0 and len(opened(tmp_path / "out.zip")) == 3
    for line in (
        "3 broken images left out:",
        "  bad.png cannot be decoded: not an image of a known format",
        "  half.png cannot be decoded: image file is truncated",
        "  bomb.png has 30000x30000 = 900 megapixels, more than the 500 megapixels that are accepted: make it smaller",
    ):
        assert line in result.output


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


def test_the_source_is_never_replaced(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "set.zip", {"a.png": picture(40, 40)})
    whole = path.read_bytes()
    (tmp_path / "link.zip").symlink_to("set.zip")
    (tmp_path / "hard.zip").hardlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for source, dest in [
        *[("set.zip", dest) for dest in ("set.zip", "./folder/set.zip", "link.zip", "hard.zip", path)],
        *[(source, "set.zip") for source in ("link.zip", "folder/hard.zip")],
    ]:
        for more in ([], ["--overwrite"], ["--overwrite", "--restart"]):
            result = run("--source", source, "--dest", dest, "--resolution", "16", *more)
            assert result.exit_code == 2
            assert (
                f"--dest {Path(dest)} is --source {source}, which is never replaced: name another file" in result.output
            )
    assert path.read_bytes() == whole and (tmp_path / "link.zip").is_symlink()


def test_a_sheet_does_not_go_into_its_source(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "in", {"a.png": picture(), "b/c.png": picture()})
    (tmp_path / "there").symlink_to(folder)
    for sheet in (folder / "a.png", folder / "b" / "new.png", tmp_path / "there" / "new.png"):
        result = run("inspect", folder, "--sheet", sheet)
        assert result.exit_code == 2
        assert f"--sheet {sheet} is inside {folder}: name a place outside" in result.output
    assert len(list(folder.rglob("*.png"))) == 2


def test_names_of_a_stranger_stay_in_their_line(tmp_path):
    odd = "\x1b[2Jcat\r\n"
    folder = write_folder(tmp_path / "in", {f"{odd}/1.png": picture(), f"{odd}/2.png": b"x", "dog/1.png": picture()})
    told = run("inspect", folder, "--labels", "folders").output
    told += run("--source", folder, "--dest", tmp_path / "o.zip", "--labels", "folders").output
    assert all(line.isprintable() for line in told.splitlines()) and told.count("cat") >= 4


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (
            "report",
            "1 image with the pixels of an earlier one, kept, which --duplicates drop would remove:\n  b.png = a.png\n",
        ),
        ("drop", "1 image with the pixels of an earlier one, dropped:\n  b.png = a.png\n"),
        ("keep", ""),
    ],
)
def test_duplicates_are_told(tmp_path, choice, told):
    files: Files = {"a.png": picture(), "b.png": picture(), "c.png": picture(seed=1)}
    files["dataset.json"] = index([["a.png", 0], ["b.png", 1], ["c.png", 0]])
    result = run(
        "--source", write_folder(tmp_path / "in", files), "--dest", tmp_path / "out.zip", "--duplicates", choice
    )
    assert told in result.output and ("the pixels of" in result.output) == bool(told)
    assert ("1 of them with another label than the earlier one" in result.output) == bool(told)


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    source = write_folder(tmp_path / "in", {f"{i}.png": picture(seed=i) for i in range(9)})
    dest, arguments = tmp_path / "out.zip", ["--source", source, "--dest", tmp_path / "out.zip", "--workers", 1]

    def interrupted(items, total, label):
        for done, item in enumerate(items):
            if label == "writing" and done == 5:
                signal.raise_signal(signal.SIGINT)
            yield item

    with monkeypatch.context() as patched:
        patched.setattr(dataset_tool, "progress", interrupted)
        result = run(*arguments)
    assert result.exit_code == 130
    assert result.output == (
        f"5 images are done and kept in {tmp_path / '.out.zip.partial'}: the same command continues from there\n"
    )
    told = run(*arguments).output
    assert "continuing an interrupted run: 5 of 9 images are done\n" in told
    assert f"wrote 9 RGB images of 16x16 to {dest}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.zip"]


def test_what_inspect_says(tmp_path):
    files: Files = {f"cat/{i}.png": picture(seed=i) for i in range(6)}
    files |= {"dog/a.png": picture(32, 16, "L", seed=7), "dog/b.png": picture(seed=2), "dog/c.png": b"broken"}
    source = write_folder(tmp_path / "in", files)
    result = run("inspect", source, "--labels", "folders", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert result.output == (
        f"{source} is a folder of 9 images\n"
        f"sizes:\n"
        f"         7  16x16\n"
        f"         1  32x16\n"
        f"modes:\n"
        f"         7  RGB\n"
        f"         1  gray\n"
        f"labels from sub-folders: 2 classes\n"
        f"         6  cat\n"
        f"         3  dog\n"
        f"duplicates: 1\n"
        f"  dog/b.png = cat/2.png\n"
        f"broken: 1\n"
        f"  dog/c.png cannot be decoded: not an image of a known format\n"
        f"not a training set: dog/c.png in {source} cannot be decoded: not an image of a known format; remove "
        f"it, or leave out all broken ones with `python dataset_tool.py --source {source} --dest in-clean.zip --labels "
        f"folders`\n"
        f"samples: {tmp_path / 'sheet.png'}\n"
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 6 * 96 and sheet.height > 2 * 96


def test_inspect_tells_the_command_that_makes_a_training_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files: Files = {f"{i}.png": picture(32 + i, 40, seed=i) for i in range(3)}
    write_folder(tmp_path / "my photos", files)
    Path("labels.csv").write_text("0,cat\n1,dog\n2,cat\n")
    tarred(tmp_path / "photos.tar.gz", {name: encoded(picture(20, 20)) for name in files}, "gz")
    for source, more in (("my photos", ["--labels", "labels.csv"]), ("photos.tar.gz", [])):
        last = run("inspect", source, *more).output.strip().splitlines()[-1]
        assert last.startswith("not a training set: ")
        _, _, *arguments = shlex.split(last.split("`")[1])
        assert run(*arguments).exit_code == 0
    assert opened("my photos-32x32.zip").class_names == ("cat", "dog") and len(opened("photos-256x256.zip")) == 3


def test_inspect_knows_a_training_set_by_its_fingerprint(tmp_path):
    source = write_folder(tmp_path / "in", {"a.png": picture(mode="RGBA"), "b.png": picture(seed=1)})
    told = run("inspect", source).output
    assert f"\nfingerprint: {opened(source).fingerprint}\n" in told
    assert "transparency is used by 1 image\n" in told and "duplicates: none\nbroken: none\n" in told
