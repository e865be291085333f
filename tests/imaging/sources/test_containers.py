"""LSUN, TFRecords, parquet and videos: small true files, read back with their exact pixels and labels."""

import gzip
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from imaging.picture import Header
from imaging.sources.recognition import KNOWN, open_source
from tests.imaging.pictures import encoded
from tests.imaging.sources.files import example, record
from tests.imaging.sources.reading import RGB, equal, failure, pixels


def test_lsun(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    images = {b"b7": RGB[0], b"a3": RGB[1], b"ff": RGB[2]}
    with lmdb.open(str(tmp_path / "cat_lmdb"), map_size=2**24) as environment, environment.begin(write=True) as txn:
        for key, image in images.items():
            txn.put(key, encoded(image, "WEBP", lossless=True))
    before = sorted(file.name for file in (tmp_path / "cat_lmdb").iterdir())
    source = open_source(tmp_path / "cat_lmdb")
    assert source.names == ("a3", "b7", "ff") and equal(pixels(source), [RGB[1], RGB[0], RGB[2]])
    assert source.labels().note == "the set is unlabeled, since an LSUN database has no labels"
    copy = pickle.loads(pickle.dumps(source))
    assert equal(pixels(copy), [RGB[1], RGB[0], RGB[2]])
    assert equal(pixels(open_source(tmp_path / "cat_lmdb" / "data.mdb")), [RGB[1], RGB[0], RGB[2]])
    assert sorted(file.name for file in (tmp_path / "cat_lmdb").iterdir()) == before, "nothing is written"
    (tmp_path / "cat_lmdb" / "data.mdb").write_bytes(b"x" * 10000)
    assert failure(tmp_path / "cat_lmdb").startswith(
        f"{tmp_path / 'cat_lmdb' / 'data.mdb'} is not a complete LMDB database (MDB_INVALID"
    )


def records(path, images, **more):
    path.write_bytes(b"".join(record(example(np.asarray(image).transpose(2, 0, 1), **more)) for image in images))
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_tfrecords(tmp_path, packed):
    records(tmp_path / "ffhq-r03.tfrecords", [image.resize((8, 6)) for image in RGB], packed=packed)
    records(tmp_path / "ffhq-r04.tfrecords", RGB, packed=packed)
    np.save(tmp_path / "ffhq-rxx.labels", np.eye(3, dtype=np.float32)[[2, 0, 1, 1, 0, 2]])
    (tmp_path / "ffhq-rxx.labels.npy").rename(tmp_path / "ffhq-rxx.labels")
    source = open_source(tmp_path)
    assert source.header == Header(16, 12, "RGB") and equal(pixels(source), RGB)
    assert source.notes == ["ffhq-r04.tfrecords is read, the largest resolution of 2"]
    assert source.labels().values.tolist() == [2, 0, 1, 1, 0, 2]
    assert open_source(tmp_path / "ffhq-r03.tfrecords").header == Header(8, 6, "RGB")


def test_damaged_tfrecords(tmp_path):
    path = records(tmp_path / "a-r04.tfrecords", RGB)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    last = whole.rindex(record(example(np.asarray(RGB[5]).transpose(2, 0, 1))))
    assert failure(path) == f"{path} ends in the middle of a record, at byte {last}: copy it again"
    path.write_bytes(bytes(8) + whole[8:])
    assert failure(path) == f"{path} ends in the middle of a record, at byte 0: copy it again"
    path.write_bytes(record(b"\x0a\x00"))
    assert failure(path) == (
        f"record00000000 in {path} cannot be read: it has no shape, but nothing: only the official data sets are read"
    )
    path.write_bytes(record(b"\xff" * 9))
    assert failure(path) == f"record00000000 in {path} cannot be read: it is not a protocol buffer"


@pytest.mark.parametrize("labels", [[0.5, 1], [-1, 0], [float("nan"), 0], [2e5, 0]])
def test_numbers_in_the_labels_of_tfrecords_that_are_no_classes(tmp_path, labels):
    records(tmp_path / "a-r04.tfrecords", RGB[:2])
    np.save(tmp_path / "x.npy", np.array(labels, np.float32))
    (tmp_path / "x.npy").rename(tmp_path / "a-rxx.labels")
    with pytest.raises(ValueError, match=r"labels must be class numbers 0, 1, 2, ... below 100000: get it"):
        open_source(tmp_path).labels()


def parquet(path, images, labels, **metadata):
    import pyarrow as arrow
    import pyarrow.parquet

    cells = [
        {"bytes": encoded(image) if isinstance(image, Image.Image) else image, "path": "a.png"} for image in images
    ]
    table = arrow.table({"image": cells, "label": labels})
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    pyarrow.parquet.write_table(table, path, row_group_size=2)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data/train-00000-of-00002.parquet", RGB[:4], [0, 1, 1, 0], **features)
    parquet(tmp_path / "data/train-00001-of-00002.parquet", RGB[4:], [1, 1], **features)
    parquet(tmp_path / "data/test-00000-of-00001.parquet", RGB[:1], [1], **features)
    source = open_source(tmp_path)
    assert equal(pixels(source), RGB) and equal(pixels(source, indices=[0, 3, 5]), [RGB[0], RGB[3], RGB[5]])
    labels = source.labels()
    assert labels.values.tolist() == [0, 1, 1, 0, 1, 1] and labels.class_names == ("cat", "dog")
    assert source.notes == ["2 files are read, train-00000-of-00002.parquet first"]
    assert len(open_source(tmp_path / "data/test-00000-of-00001.parquet").names) == 1


def test_parquet_with_gaps_and_words(tmp_path):
    pytest.importorskip("pyarrow")
    parquet(tmp_path / "a.parquet", [RGB[0], None, RGB[2]], ["b", "a", "b"])
    source = open_source(tmp_path / "a.parquet")
    assert source.labels().class_names == ("a", "b") and source.labels().values.tolist() == [1, 0, 1]
    found = dict(source.stream([0, 1, 2]))
    where = tmp_path / "a.parquet"
    assert str(found[1]) == f"row00000001 in {where} cannot be read: only its path a.png is there"
    parquet(tmp_path / "c.parquet", RGB[:3], ["10.0", " 9", "010"])
    assert open_source(tmp_path / "c.parquet").labels().values.tolist() == [10, 9, 10], "numbers, however spelled"
    parquet(tmp_path / "d.parquet", RGB[:3], ["x10", "x9", "x10"])
    assert open_source(tmp_path / "d.parquet").labels().class_names == ("x9", "x10")
    parquet(tmp_path / "e.parquet", RGB[:3], [10.0, 9.0, 0.0])
    assert open_source(tmp_path / "e.parquet").labels().values.tolist() == [10, 9, 0]
    parquet(tmp_path / "b.parquet", RGB[:2], [0, -1])
    assert open_source(tmp_path / "b.parquet").labels().class_names == ("-1", "0"), "no class numbers, but names"


def test_damaged_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    parquet(path, RGB, [0] * 6)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert failure(path).startswith(f"{path} is not a complete parquet file (")
    path.write_bytes(whole[:4] + b"\xff" * 5000 + whole[5004:])  # past the header, which lies at the end
    source = open_source(path)
    with pytest.raises(ValueError, match=r"^/.*a.parquet is not a complete parquet file \(.*\): get it again$"):
        list(source.stream(range(6)))


def video(path, count=10, size=(32, 24)):
    """Lossless, so that every frame comes back: frame i is gray of level 10 i."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height = size
        stream.pix_fmt = "bgr0"
        for i in range(count):
            frame = av.VideoFrame.from_image(Image.new("RGB", size, (10 * i, 10 * i, 10 * i)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("every", [1, 3])
def test_video(tmp_path, every):
    source = open_source(video(tmp_path / "a.mkv"), every)
    assert source.header == Header(32, 24, "RGB") and source.names[1] == f"a.mkv/frame{every:08d}"
    found = pixels(source)
    assert [int(frame.mean()) for frame in found] == [10 * i for i in range(0, 10, every)]
    assert all(frame.shape == (24, 32, 3) for frame in found)
    assert [int(frame.mean()) for frame in pixels(source, indices=[1, 2])] == [10 * every, 20 * every]


def test_a_folder_of_videos(tmp_path):
    (tmp_path / "in").mkdir()
    video(tmp_path / "in/a.avi", 2)
    video(tmp_path / "in/b.mkv", 3)
    source = open_source(tmp_path / "in", 2)
    assert [source.names[i] for i in range(3)] == ["a.avi/frame00000000", "b.mkv/frame00000000", "b.mkv/frame00000002"]
    assert [int(frame.mean()) for frame in pixels(source)] == [0, 0, 20]


def test_damaged_videos(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 500)
    assert failure(path).startswith(f"{path} is not a video that can be read (")
    whole = video(tmp_path / "b.mkv").read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    source = open_source(tmp_path / "b.mkv")
    assert 0 < len(list(source.stream(range(len(source.names))))) < 10


@pytest.mark.parametrize(
    ("package", "name", "what"),
    [("lmdb", "a.mdb", "LSUN databases"), ("pyarrow", "a.parquet", "parquet files")],
)
def test_packages_that_are_missing(tmp_path, monkeypatch, package, name, what):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(b"PAR1" if name.endswith("parquet") else b"x")
    assert failure(tmp_path / name) == (f"reading {what} needs the package {package}: pip install {package}")


def test_what_is_in_no_known_format(tmp_path):
    path = tmp_path / "notes.xyz"
    path.write_bytes(gzip.compress(b"hello"))
    assert (
        failure(path) == f"{path} is of an unknown format: give {KNOWN} (and labels in a CSV or JSON file to --labels)"
    )
    (tmp_path / "a.png").write_bytes(encoded(RGB[0]))
    assert failure(tmp_path / "a.png") == (
        f"{tmp_path / 'a.png'} is a single image: give the folder it is in, since a set has many images"
    )
    assert failure(tmp_path, every=2) == (f"--every picks frames of a video, but {tmp_path} is a folder: omit it")
