"""Archives of `torch.save` that two readers would read differently: refused, whichever of them would be harmed."""

import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch

from tests.torch_utils.test_torchfile import NO_PICKLE, STATE, Mark, refusal, repacked, saved
from torch_utils.torchfile import read


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"compress": True}, "its archive is compressed, as those of torch.save never are"),
        ({"twice": "a/version"}, "its archive has two files of one name"),
        ({"more": {"a/constants.pkl": b""}}, "it is a TorchScript program, and wanted are weights"),
        ({"more": {"b/data.pkl": b""}}, "it is an archive without the one data.pkl of torch.save"),
        ({"more": {"a/data.pkl": bytes(2**21 + 1)}}, "its data.pkl is longer than 2 MiB"),
    ],
)
def test_archives_that_are_more_than_they_seem(tmp_path, changes, reason):
    path = saved(tmp_path / "a.pt", STATE)
    repacked(path, **changes)
    assert refusal(path) == reason


HARMFUL = pickle.dumps(Mark(os.system, "touch mark"), protocol=2)


@pytest.mark.parametrize(
    "name", ["archive/DATA.PKL", "Archive/data.pkl", "archive\\data.pkl", "archive/data.pkl/", "ARCHIVE/Data.Pkl"]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_second_pickle_for_another_reader_is_refused(tmp_path, monkeypatch, name, first):
    """Names that PyTorch's reader, or a file system, takes for that of the pickle that was looked at."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(saved(tmp_path / "archive.pt", {"g_ema": STATE})) as archive:
        records = [(record, archive.read(record)) for record in archive.namelist()]
    records.insert(0 if first else len(records), (name, HARMFUL))
    with zipfile.ZipFile(path, "w") as archive:
        for record, data in records:
            archive.writestr(record, data)
    assert refusal(path) in ("its archive has two files of one name", NO_PICKLE)
    assert not Path("mark").exists()


@pytest.mark.parametrize(
    "name", ["archive/DATA/0", "archive/data/0/", "archive/Byteorder", "archive\\version", "archive/.FORMAT_VERSION"]
)
def test_a_second_of_any_other_record_is_refused(tmp_path, name):
    path = saved(tmp_path / "archive.pt", STATE)
    repacked(path, more={name: b"x"})
    assert refusal(path) == "its archive has two files of one name"


def edited(path: Path, change) -> Path:
    """A file whose bytes are changed, beside it."""
    data = bytearray(path.read_bytes())
    changed = change(data)
    (other := path.with_name("edited.pt")).write_bytes(data if changed is None else changed)
    return other


def headers(data: bytes) -> list[int]:
    """Where the headers of an archive's records are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [record.header_offset for record in archive.infolist()]


def rename_header(data):
    at = headers(data)[1] + 30
    data[at : at + 1] = b"b"


def resize_header(data):
    at = headers(data)[4]
    data[at + 6] &= ~8  # that sizes follow
    data[at + 18 : at + 26] = b"\1\0\0\0" * 2


def compress_header(data):
    data[headers(data)[1] + 8] = 8


def flip_a_bit(data):
    data[headers(data)[4] + 200] ^= 1


def move_header(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.start_dir
    data[at + 42 : at + 46] = b"\1\0\0\0"


def with_comment(data):
    data[-2:] = b"\3\0"
    return bytes(data) + b"PK?"


def other_end(data):
    data[-6:-2] = (3).to_bytes(4, "little")  # where the directory begins, against the record for large files


def without_end(data):
    return data[:-22]


def other_count(data):
    data[-12:-10] = b"\1\0"


def two_ends(data):
    return bytes(data) + bytes(data[-22:])


def hidden(data):
    """A whole archive in front of another."""
    return bytes(data) + bytes(data)


CONTRADICTIONS = "the headers of its archive contradict the directory"
DAMAGED = "it is damaged, or not of torch.save: fetch it anew"


@pytest.mark.parametrize(
    "change, reason",
    [
        (rename_header, CONTRADICTIONS),
        (resize_header, CONTRADICTIONS),
        (compress_header, DAMAGED),
        (flip_a_bit, DAMAGED),
        (move_header, "its archive has something in front of its files"),
        (with_comment, DAMAGED),
        (other_end, DAMAGED),
        (without_end, DAMAGED),
        (two_ends, DAMAGED),
        (hidden, DAMAGED),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_archives_that_two_readers_would_read_differently(tmp_path, change, reason):
    path = saved(tmp_path / "a.pt", {"a": torch.arange(400.0)})
    assert refusal(edited(path, change)) == reason


def test_something_in_front_of_an_archive(tmp_path):
    path = saved(tmp_path / "a.pt", STATE)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    path.write_bytes(b"PK\3\4 something else")
    with zipfile.ZipFile(path, "a") as archive:  # whose places count from the begin of the file
        for name, data in records.items():
            archive.writestr(name, data)
    assert refusal(path) == "its archive has something in front of its files"


def test_an_archive_without_sums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "a.pt", STATE)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read(path)["a"], STATE["a"])


def test_numbers_of_a_machine_of_the_other_order(tmp_path):
    path = saved(tmp_path / "a.pt", {"a": torch.tensor([1.5, -2.0])})
    with zipfile.ZipFile(path) as archive:
        numbers = archive.read("a/data/0")
    repacked(path, more={"a/byteorder": b"big", "a/data/0": numbers[3::-1] + numbers[:3:-1]})
    assert read(path)["a"].tolist() == [1.5, -2.0]
    repacked(path, more={"a/byteorder": b"middle"})
    assert refusal(path) == DAMAGED


def test_a_file_of_both_formats_is_read_as_what_it_begins_with(tmp_path):
    old, new = (saved(tmp_path / f"{zipped}.pt", STATE, zipped).read_bytes() for zipped in (False, True))
    (tmp_path / "a.pt").write_bytes(old + new)
    assert re.fullmatch(r"it is damaged \([\d,]+ bytes follow its tensors\)", refusal(tmp_path / "a.pt"))


def test_tensors_that_claim_more_than_there_is(tmp_path):
    path = saved(tmp_path / "a.pt", {"a": torch.zeros(300)})
    with zipfile.ZipFile(path) as archive:
        contents = archive.read("a/data.pkl")
    assert contents.count(b"M,\1") == 2  # 300
    repacked(path, more={"a/data.pkl": contents.replace(b"M,\1", b"J\xff\xff\xff\x7f")})
    assert refusal(path) == "it is damaged (a tensor claims 2,147,483,647 numbers, which are not there)"


def test_an_archive_whose_records_overlap_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"a": torch.zeros(1000)})
    repacked(path)
    with zipfile.ZipFile(path, "a") as archive:
        for record in list(archive.infolist()):
            for i in range(30):  # the same bytes again under other names
                archive.filelist.append(again := zipfile.ZipInfo(f"{record.filename}{i}"))
                again.header_offset, again.CRC = record.header_offset, record.CRC
                again.compress_size = again.file_size = record.file_size
        archive._didModify = True
    assert refusal(path) == "its archive unpacks to more than it is"
