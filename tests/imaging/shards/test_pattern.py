import pytest

from imaging.shards.index import expand, find_shards, is_shards, prefix
from tests.imaging.shards.tars import write_tar


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{008..011}.tar", ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]),
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{train,val}-{0..1}.tar", ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]),
        ("s3://b/{a,b}.tar", ["s3://b/a.tar", "s3://b/b.tar"]),
    ],
)
def test_braces(pattern, names):
    assert expand(pattern) == names


def test_braces_mean_what_webdataset_takes_them_for():
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    for pattern in ("x-{0000..0130}.tar", "{a,b}/x-{0..12}.tar", "x-{00..3}.tar", "x-{5..5}.tar", "x{1..2}y{3..4}.tar"):
        assert expand(pattern) == list(braceexpand(pattern))


@pytest.mark.parametrize(
    "pattern", ["x-{a..c}.tar", "x-{9..0}.tar", "x-{0..9999999}.tar", "x-{a,{b,c}}.tar", "{0..999999}{0..999999}.tar"]
)
def test_braces_without_a_meaning(pattern):
    with pytest.raises(ValueError) as error:
        find_shards(pattern)
    assert str(error.value).startswith(f"{pattern} does not name shards: write {{0000..0999}}, or names as in {{a,b}}")


def test_what_is_taken_for_shards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for shards in ("x.tar", "x-{0..3}.tar", "x-*.tar", "s3://b/x.tar", "https://h/x.zip", "x.tar.gz", "x-{0..3}"):
        assert is_shards(shards), shards
    (tmp_path / "odd{1,2}").mkdir()
    (tmp_path / "x.tar.d").mkdir()
    (tmp_path / "y.tar").mkdir()
    for other in ("x.zip", "folder", "demo:64", "odd{1,2}", "x.tar.d", "y.tar"):
        assert not is_shards(other), other


def test_prefixes():
    names = {
        "d/x-{0..3}.tar": "d/x",
        "x-*.tar": "x",
        "x.tar": "x",
        "faces64.tar": "faces64",
        "x-0003.tar": "x",
        "s3://b/x_%06d.tar": "s3://b/x",
        "*.tar": "",
    }
    assert {pattern: prefix(pattern) for pattern in names} == names


def test_shards_are_found_in_order(tmp_path):
    for name in ("x-2.tar", "x-10.tar", "y.tar"):
        write_tar(tmp_path / name, {"a.cls": b"1"})
    assert [shard.name for shard in find_shards(f"{tmp_path}/x-*.tar")] == ["x-10.tar", "x-2.tar"]
    assert [shard.name for shard in find_shards(f"{tmp_path}/x-{{2,10}}.tar")] == ["x-2.tar", "x-10.tar"]
    assert [shard.name for shard in find_shards(f"file://{tmp_path}/?.tar")] == ["y.tar"]
    shard = find_shards(f"{tmp_path}/y.tar")[0]
    assert shard.is_local and shard.bytes == (tmp_path / "y.tar").stat().st_size


def failure(pattern, kind=ValueError):
    with pytest.raises(kind) as error:
        find_shards(str(pattern))
    return str(error.value)


def test_missing_shards(tmp_path):
    write_tar(tmp_path / "x-1.tar", {"a.cls": b"1"})
    assert failure(tmp_path / "x-{0..3}.tar") == (
        f"{tmp_path}/x-0.tar does not exist (3 of 4 shards are missing): restore it, or correct the pattern"
    )
    assert failure(tmp_path / "y-{0..3}.tar", FileNotFoundError) == (
        f"{tmp_path}/y-0.tar does not exist (4 of 4 shards are missing): restore it, or correct the pattern"
    )
    assert failure(tmp_path / "y-*.tar", FileNotFoundError).startswith(f"no file matches {tmp_path}/y-*.tar: ")
    (tmp_path / "z.tar").mkdir()
    assert (
        failure(tmp_path / "z.tar") == f"{tmp_path}/z.tar is not a file, and shards are .tar files: correct the pattern"
    )


@pytest.mark.parametrize(
    "url",
    [
        "nosuch://host/x.tar",
        "simplecache::http://host/x.tar",
        "filecache::s3://bucket/x-*.tar",
        "s3://bucket/x.tar::simplecache://x.tar",
        "zip://x.tar::http://host/x.zip/x.tar",
        "reference://x.tar",
        "github://owner:repo@main/x-{0..3}.tar",
        "ssh://host/x.tar",
        "memory://x/x.tar",
        "data://text/x.tar",
        "FTP://host/x.tar",
        "{https,ssh}://127.0.0.1:9/x.tar",
    ],
)
def test_other_protocols_and_chains_of_them(url):
    told = failure(url)
    assert told.endswith(
        "cannot be opened: shards are read from this machine or by https://, http://, s3://, gs:// and hf://, without "
        "chains of protocols (::); correct the address, or copy the shards here"
    )


def test_a_package_that_is_missing_is_named(monkeypatch):
    def fail(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    assert failure("s3://b/x.tar") == "s3://b/x.tar needs a missing package: pip install s3fs"
