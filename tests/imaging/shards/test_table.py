import io
import tarfile

import numpy as np
import pytest

from imaging.shards.store import Shard
from imaging.shards.table import read_table, samples
from tests.imaging.pictures import encoded, picture
from tests.imaging.shards.tars import write_tar

A, B = encoded(picture(seed=1)), encoded(picture(seed=2), "JPEG")


def read(path, labeled=True):
    with path.open("rb") as file:
        return read_table(file, Shard(path.name, path.stat().st_size, ""), labeled)


def table(tmp_path, files, labeled=True):
    return read(write_tar(tmp_path / "x.tar", files), labeled)


def failure(path, labeled=True):
    with pytest.raises(ValueError) as error:
        read(path, labeled)
    assert "\n" not in str(error.value)
    return str(error.value)


def refusal(tmp_path, files):
    return failure(write_tar(tmp_path / "x.tar", files))


def test_samples_are_read_from_their_places(tmp_path):
    found = table(tmp_path, {"0.png": A, "0.cls": b"7\n", "1.JPG": B, "1.json": b'{"label": 2, "text": "a cat"}'})
    data = (tmp_path / "x.tar").read_bytes()
    assert [data[o : o + s] for o, s in zip(found.offsets, found.sizes, strict=True)] == [A, B]
    assert found.labels.tolist() == [7, 2] and found.labels.dtype == np.int64
    assert table(tmp_path, {"0.png": A, "0.cls": b"?"}, labeled=False).labels.tolist() == [-1]


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
        assert [picture.name for picture, _ in samples(file, "x.tar")] == [f"{long}/0.png"]


def test_what_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"{i:04d}", "png": picture(seed=i), "cls": i, "json": {"label": 9}})
    found = read(tmp_path / "x.tar")
    assert found.labels.tolist() == [0, 1, 2, 3, 4], "cls comes before json"


def test_digests_tell_shards_apart(tmp_path):
    base = {"0.png": A, "0.cls": b"1", "1.png": A + bytes(20000), "1.cls": b"2"}
    digest = table(tmp_path, base).row.digest
    assert table(tmp_path, base).row.digest == digest == table(tmp_path, base, labeled=False).row.digest
    others = [
        base | {"0.cls": b"2"},
        base | {"1.png": A + bytes(19999) + b"x"},
        base | {"1.png": A[:200] + b"x" + A[201:] + bytes(20000)},
        base | {"1.png": A + bytes(20001)},
        {name.replace("1.", "2."): data for name, data in base.items()},
    ]
    assert len({digest, *(table(tmp_path, other).row.digest for other in others)}) == 6


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
    "no JSON": ({"a.png": A, "a.json": b"{"}, "the label in a.json of x.tar is not a JSON object"),
    "no object": ({"a.png": A, "a.json": b"3"}, 'is not a JSON object such as {"label": 3}'),
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
