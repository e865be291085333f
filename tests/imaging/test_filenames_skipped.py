"""What is skipped in a folder, ZIP or tar is named, with why."""

import pytest
from PIL import features

from imaging.archive import open_archive
from imaging.conversion import convert
from imaging.filenames import TRAINING_SUFFIXES, passed_over
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
