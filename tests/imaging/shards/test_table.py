import io
import json
import tarfile
import tracemalloc

import numpy as np
import pytest

from imaging.shards.table import name_at, read_table
from tests.imaging.pictures import encoded, picture
from tests.imaging.shards.tars import write_tar

A, B = encoded(picture(seed=1)), encoded(picture(seed=2), "JPEG")


def read(path, labelled=True):
    with path.open("rb") as file:
        return read_table(file, path.name, labelled)


def table(tmp_path, files, labelled=True):
    return read(write_tar(tmp_path / "x.tar", files), labelled)


def failure(path, labelled=True):
    with pytest.raises(ValueError) as error:
        read(path, labelled)
    assert "\n" not in str(error.value)
    return str(error.value)


def refusal(tmp_path, files):
    return failure(write_tar(tmp_path / "x.tar", files))


def test_samples_are_read_from_their_places(tmp_path):
    found = table(tmp_path, {"0.png": A, "0.cls": b"7\n", "1.JPG": B, "1.json": b'{"label": 2, "text": "a cat"}'})
    data = (tmp_path / "x.tar").read_bytes()
    assert [data[o : o + s] for o, s in zip(found.offsets, found.sizes, strict=True)] == [A, B]
    assert found.labels.tolist() == [7, 2] and found.labels.dtype == np.int64
    assert table(tmp_path, {"0.png": A, "0.cls": b"?"}, labelled=False).labels.tolist() == [-1]


def test_names_are_cut_at_the_first_dot_of_their_last_part(tmp_path):
    files = {"v1.2/a.rgb.png": A, "v1.2/a.cls": b"1", "v1.2/b.cls": b"2", "v1.2/b.webp": B}
    assert table(tmp_path, files).labels.tolist() == [1, 2]


def test_hidden_files_and_unknown_ones_are_passed_over(tmp_path):
    files = {"._0.png": b"x", "__MACOSX/0.png": b"x", "0.png": A, "0.txt": b"a cat", "0.json": b"{}", "1.png": B}
    found = table(tmp_path, files)
    assert len(found.labels) == 2 and found.labels.tolist() == [-1, -1]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_of_every_format(tmp_path, kind):
    long = "/".join(["ä" * 40] * (2 if kind == tarfile.USTAR_FORMAT else 9))
    with tarfile.open(tmp_path / "x.tar", "w", format=kind) as tar:
        for name, data in ((f"{long}/0.png", A), (f"{long}/0.cls", b"5")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    found = read(tmp_path / "x.tar")
    assert found.labels.tolist() == [5]
    with (tmp_path / "x.tar").open("rb") as file:
        assert name_at(file, "x.tar", int(found.offsets[0])) == f"{long}/0.png"


def test_what_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"{i:04d}", "png": picture(seed=i), "cls": i, "json": {"label": 9}})
    found = read(tmp_path / "x.tar")
    assert found.labels.tolist() == [0, 1, 2, 3, 4], "cls comes before json"


def test_digests_tell_shards_apart(tmp_path):
    base = {"0.png": A, "0.cls": b"1", "1.png": bytes(20000), "1.cls": b"2"}
    digest = table(tmp_path, base).digest
    assert table(tmp_path, base).digest == digest == table(tmp_path, base, labelled=False).digest
    others = [
        base | {"0.cls": b"2"},
        base | {"1.png": bytes(19999) + b"x"},
        base | {"1.png": b"x" + bytes(19999)},
        base | {"1.png": bytes(20001)},
        {name.replace("1.", "2."): data for name, data in base.items()},
    ]
    assert len({digest, *(table(tmp_path, other).digest for other in others)}) == 6


REFUSED = {
    "two pictures": ({"a.png": A, "a.seg.png": A}, "a in x.tar has several images (png and seg.png)"),
    "no picture": ({"a.png": A, "b.cls": b"1"}, "b in x.tar has no image (png, jpg, jpeg, webp) next to its cls"),
    "torn sample": ({"a.png": A, "b.png": A, "a.cls": b"1"}, "make the shard with `tar --sort=name`"),
    "nothing": ({}, "x.tar holds no samples: remove it, or make it again"),
    "word": ({"a.png": A, "a.cls": b"cat"}, "the label in a.cls of x.tar is 'cat': labels must be class numbers 0, 1"),
    "negative": ({"a.png": A, "a.cls": b"-1"}, "is '-1': labels must be class numbers"),
    "far too large": ({"a.png": A, "a.cls": b"9" * 100}, "labels must be class numbers"),
    "too large": ({"a.png": A, "a.json": b'{"label": 100000}'}, "is 100000: labels must be class numbers"),
    "vector": ({"a.png": A, "a.json": b'{"label": [1, 0]}'}, "is [1, 0]: labels must be class numbers"),
    "truth": ({"a.png": A, "a.json": b'{"label": true}'}, "is True: labels must be class numbers"),
    "no JSON": ({"a.png": A, "a.json": b"{"}, "the label in a.json of x.tar is not valid JSON"),
    "no object": ({"a.png": A, "a.json": b"3"}, 'is not an object such as {"label": 3}'),
    "a line break": ({"a\nb.png": A, "a\nb.x.png": A}, "a?b in x.tar has several images"),
    "no text": ({"a.png": A, "a.cls": b"\xff\xfe"}, "labels must be class numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_samples_that_are_refused(tmp_path, case):
    files, sentence = REFUSED[case]
    found = refusal(tmp_path, files)
    assert sentence in found
    if "label" in sentence and case != "torn sample":
        assert found.endswith("; correct it, or use --labels none")


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert failure(tmp_path / "x.tar").startswith("a.png in x.tar is a link or special file: ")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_packed_shards_are_refused(tmp_path, mode):
    with tarfile.open(tmp_path / "x.tar", f"w:{mode}") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    assert "so that its samples cannot be read one by one: unpack it" in failure(tmp_path / "x.tar")


def test_a_shard_cut_anywhere_is_noticed(tmp_path):
    """Also at the very border of a file, where tarfile itself sees nothing amiss."""
    path = write_tar(tmp_path / "x.tar", {f"{i}.png": A for i in range(3)})
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    end += -end % 512
    for length in [0, 1, 511, 512, 600, 1024, *range(1500, end, 300), end]:
        path.write_bytes(whole[:length])
        assert failure(path).endswith("copy or make it again, or leave it out of --data"), length
    path.write_bytes(whole[: end + 512])
    assert len(read(path).labels) == 3


def test_a_header_damaged_in_the_middle_is_no_end(tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{i}.png": A for i in range(3)})
    data = bytearray(path.read_bytes())
    second = data.index(b"1.png")
    data[second] ^= 1
    path.write_bytes(data)
    assert failure(path).startswith("x.tar is not a whole tar file (a header is damaged)")


def test_a_header_that_leads_back_ends_the_reading(tmp_path):
    """A negative size in tar's binary notation, with a checksum that is right."""
    info = tarfile.TarInfo("a.png")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(512) * 0 + bytes(block) * 3 + bytes(1024))
    assert "is not a whole tar file" in failure(tmp_path / "x.tar")


def test_names_of_a_stranger_are_told_in_one_line_and_kept_apart(tmp_path):
    escape = "\x1b]0;owned\x07\n"
    message = refusal(tmp_path, {f"{escape}0.cls": b"1", "1.png": A})
    assert message.startswith("?]0;owned??0 in x.tar has no image") and message.isprintable()
    assert refusal(tmp_path, {"a.png": A, f"a.{escape}.jpg": B}).isprintable()
    assert refusal(tmp_path, {f"{escape}.png": A, f"{escape}.cls": b"x"}).isprintable()
    found = table(tmp_path, {"a\x01.png": A, "a\x01.cls": b"1", "a\x02.png": B, "a\x02.cls": b"2"})
    assert found.labels.tolist() == [1, 2], "two samples, though a terminal shows them alike"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_that_would_fill_memory(tmp_path, kind):
    info = tarfile.TarInfo("x")
    info.size, info.type = 4 * 2**30, kind
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(5 * 2**30)  # a hole, which takes no room
    tracemalloc.start()
    assert "is not a whole tar file (a header has 4294967296 bytes)" in failure(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("text", [b"10", b"10.0", b" 10\n", b"010", b"1e1"])
def test_a_class_in_any_spelling(tmp_path, text):
    assert table(tmp_path, {"0.png": A, "0.cls": text}).labels.tolist() == [10]
    assert table(tmp_path, {"0.png": A, "0.json": json.dumps({"label": text.decode()}).encode()}).labels.tolist() == [
        10
    ]
