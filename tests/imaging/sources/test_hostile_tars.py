"""Tar files that would fill memory or mislead: one sentence, within bounds."""

import bz2
import gzip
import io
import os
import tarfile

import pytest

from imaging.sources.recognition import open_source
from tests.imaging.pictures import encoded, picture
from tests.imaging.sources.reading import failure, taken_alone, zeros


def header(name, size, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("packer", [gzip.open, bz2.open])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_refused(tmp_path, packer, kind):
    path = tmp_path / ("a.tar.gz" if packer is gzip.open else "a.tar.bz2")
    with packer(path, "wb") as file:
        file.write(header("././@LongLink", 2**32, kind))
        zeros(file, 2**25)
    assert taken_alone(path) == (
        f"refused: {path} is not a complete tar file (a header has {2**32} bytes): copy or make it again\n"
    )


def test_many_headers_that_hold_for_all_files_are_refused(tmp_path):
    facts = [b"%d %s=%s\n" % (1024, b"k%04d" % i, b"v" * 1012) for i in range(200)]
    blocks = [header("g", 1024, tarfile.XGLTYPE) + fact + header("a.png", 0, tarfile.REGTYPE) for fact in facts]
    (tmp_path / "a.tar").write_bytes(b"".join(blocks) + bytes(1024))
    assert "is not a complete tar file (too many headers for all files)" in failure(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2"])
def test_a_picture_of_gigabytes_is_named_and_not_read(tmp_path, name):
    good = encoded(picture())
    packer = {".gz": gzip.open, ".bz2": bz2.open}.get(name[-3:] if name.endswith("gz") else name[-4:], open)
    with packer(tmp_path / name, "wb") as file:
        file.write(header("a.png", len(good), tarfile.REGTYPE) + good + bytes(-len(good) % 512))
        file.write(header("b.png", 2**33, tarfile.REGTYPE))
        if packer is open:
            file.truncate(file.tell() + 2**33)
            file.seek(0, os.SEEK_END)
            file.write(bytes(1024))
    told = taken_alone(tmp_path / name)
    if packer is open:
        assert told == "opened 2\n"
        with pytest.raises(ValueError, match=f"b.png in .* has {2**33} bytes, but at most {3 * 2**28} are accepted"):
            open_source(tmp_path / name).header_of(1)
    else:
        refusal = f"refused: b.png in {tmp_path / name} has {2**33} bytes, but at most {3 * 2**28} are acc"
        assert told.startswith(refusal)


def test_holes_and_links_in_a_tar_are_passed_over_and_named(tmp_path):
    good = encoded(picture())
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.size = len(good)
        tar.addfile(info, io.BytesIO(good))
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = (tmp_path / "a.tar").read_bytes()
    sparse = tarfile.TarInfo("c.png")
    sparse.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(sparse.tobuf(tarfile.GNU_FORMAT) + data)
    source = open_source(tmp_path / "a.tar")
    assert source.names == ("a.png",)
    assert source.notes == ["links and files with holes are skipped: c.png and 1 more; pack the files themselves"]


@pytest.mark.parametrize("name", ["a.png", "a.mp4"])
@pytest.mark.parametrize("size", [2**33, 2**62, 2**70, -512, -1024])
@pytest.mark.parametrize("packer", [gzip.open, bz2.open, open])
def test_odd_sizes_in_a_tar_end(tmp_path, packer, size, name):
    path = tmp_path / ("a.tar" if packer is open else "a.tar.gz")
    with packer(path, "wb") as file:
        file.write(header(name, size, tarfile.REGTYPE) + bytes(2048))
    assert str(path) in failure(path)
