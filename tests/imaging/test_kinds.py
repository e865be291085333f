"""What is skipped in a folder, ZIP or tar is named, with why."""

import pytest
from PIL import features

from imaging.archive import open_archive
from imaging.conversion import convert
from imaging.dataset import DataConfig, open_dataset
from imaging.inspection import inspect
from imaging.kinds import TRAINING_SUFFIXES, passed_over
from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, picture, write_folder, write_zip
from tests.imaging.sources.files import tarred

HEIC = b"\0\0\0\x18ftypheic"
PHONE = {
    "0.png": encoded(picture(seed=0)),
    "1.jfif": encoded(picture(seed=1), "JPEG"),
    "2.ppm": encoded(picture(seed=2), "PPM"),
    "3.BMP": encoded(picture(seed=3), "BMP"),
    "4.tiff": encoded(picture(seed=4), "TIFF"),
    "7.HEIC": HEIC,
    "8.heif": HEIC,
    "9.svg": b"<svg/>",
    "a.CR2": b"x",
    "b.jxl": b"x",
    "c.psd": b"x",
    "d.txt": b"x",
    "e": b"x",
}
if features.check("avif"):
    PHONE["5.avif"] = encoded(picture(seed=5), "AVIF")
READ = 5 + bool(features.check("avif"))


def as_tar(path, files):
    return tarred(path.with_suffix(".tar"), files, "")


@pytest.mark.parametrize("write", [write_folder, write_zip, as_tar])
def test_pictures_that_are_not_read_are_named_with_what_would(tmp_path, write):
    source = open_source(write(tmp_path / "phone.zip", PHONE))
    assert len(source.names) == READ
    told = "\n".join(source.notes)
    assert "skipped 2 HEIC, HEIF files (7.HEIC): convert them to PNG first, for example with heif-con" in told
    assert "skipped 1 SVG file (9.svg): convert them to PNG first, for example with rsvg-convert" in told
    assert "skipped 1 CR2 file (a.CR2): " in told and "skipped 1 JXL file (b.jxl): " in told
    assert "skipped 2 other files (1 .txt, 1 without an ending)" in told
    report = convert(source.path, tmp_path / "out.zip", workers=1)
    assert report.written == READ and report.notes == tuple(source.notes)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_training_says_what_it_passes_over(tmp_path, write):
    dataset = open_dataset(DataConfig(path=str(write(tmp_path / "phone.zip", PHONE))))
    assert len(dataset) == 1
    assert any(n.startswith(f"skipped {READ - 1} ") and n.endswith("dataset_tool.py") for n in dataset.notes)
    assert any(note.startswith("skipped 2 HEIC, HEIF files") for note in dataset.notes)


def test_nothing_but_vector_drawings(tmp_path):
    with pytest.raises(ValueError) as error:
        open_source(write_folder(tmp_path / "in", {"a.svg": b"<svg/>", "b.svg": b"<svg/>"}))
    assert "holds no images (" in str(error.value)
    assert "; skipped 2 SVG files (a.svg): convert them to PNG first" in str(error.value)


def test_what_belongs_to_a_set_is_not_spoken_of(tmp_path):
    files = {"a.png": picture(), "dataset.json": b"{}", "sources.csv": b"", ".DS_Store": b"", "__MACOSX/._a.png": b""}
    assert open_archive(write_zip(tmp_path / "a.zip", files)).passed == []
    assert passed_over([], TRAINING_SUFFIXES) == []


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\n <!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a pointer of Git LFS"),
        (b"", "it is an empty file"),
        (b"hello", "not an image of a known format"),
    ],
)
def test_files_that_are_called_pictures_are_called_what_they_are(tmp_path, start, kind):
    source = open_source(write_folder(tmp_path / "in", {"a.png": picture(), "b.png": start}))
    with pytest.raises(ValueError, match=f"^b.png cannot be decoded: {kind}"):
        source.header_of(1)


def test_inspect_does_not_call_a_part_of_the_images_the_set(tmp_path):
    found = inspect(write_folder(tmp_path / "in", {"a.png": picture(), "b.bmp": encoded(picture(), "BMP")}), workers=1)
    start = "train.py reads 1 of its 2 images and skips the other formats: make a set with `python "
    assert found.fingerprint is None and found.unfit.startswith(start), found.unfit
