import argparse
import os
import pickle
import re
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_utils.torchfile import Storage, begins_so, plain_tensors, read
from torch_utils.torchfile import tensor as rebuilt

NO_PICKLE = "it is an archive without the data.pkl of torch.save"
STATE = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(4, dtype=torch.float16))
BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before 1.6"])


def saved(path: Path, value: object, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        read(path)
    return str(error.value)


class Mark:
    """Leaves a file where it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@BOTH
def test_a_training_file_is_read_in_both_formats(tmp_path, zipped):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    value = {
        "g": STATE,
        "args": argparse.Namespace(size=16),
        "g_optim": optimizer.state_dict(),
        "p": 0.5,
        "n": [1, "x"],
    }
    path = saved(tmp_path / "a.pt", value, zipped)
    assert begins_so(path.read_bytes()[:512])
    found = read(path)
    assert found["g_optim"] == value["g_optim"] and found["p"] == 0.5 and found["n"] == [1, "x"]
    assert found["args"] == {}
    tensors = plain_tensors(found["g"], "g", path.stat().st_size)
    assert tensors.keys() == STATE.keys() and all(torch.equal(tensors[name], t) for name, t in STATE.items())
    assert tensors["b"].dtype == torch.float16


CALLS = {
    "posix.system": os.system,
    "__builtin__.exec": exec,
    "__builtin__.bytearray": bytearray,  # which PyTorch would allow, of any size
    "torch.serialization.load": torch.load,
    "torch._utils._rebuild_meta_tensor_no_storage": torch._utils._rebuild_meta_tensor_no_storage,
}


@BOTH
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_no_weights_need_is_refused_by_its_name_and_not_made(tmp_path, name, zipped):
    mark = tmp_path / "mark"
    path = saved(tmp_path / "a.pt", {"g_ema": STATE, "x": Mark(CALLS[name], f"touch {mark}")}, zipped)
    assert refusal(path) == f"it asks for {name}, which is not allowed; no code of the file was run"
    assert not mark.exists()


def repacked(path: Path, **changes) -> None:
    """Writes an archive anew: `compress`, `twice` a record, `more` records."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    kind = zipfile.ZIP_DEFLATED if changes.get("compress") else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in (records | changes.get("more", {})).items():
            archive.writestr(name, data)
        if changes.get("twice"):
            archive.writestr(changes["twice"], b"other")


@BOTH
def test_every_type_and_layout_comes_back(tmp_path, zipped):
    types = [torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.bfloat16]
    value = {str(dtype): torch.arange(12).to(dtype).reshape(3, 4).t() for dtype in types}
    value |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.5), "part": torch.arange(10.0)[2:8:2]}
    found = read(saved(tmp_path / "a.pt", value, zipped))
    for name, tensor in value.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


@BOTH
def test_keys_that_take_forever_are_refused(tmp_path, zipped):
    nested = ()
    for _ in range(59):
        nested = (nested, nested)
    path = tmp_path / "a.pt"
    marker = 123456
    saved(path, {"g_ema": {marker: 1}}, zipped)
    program = b")"
    for i in range(59):
        program += b"q" + bytes([100 + i]) + b"h" + bytes([100 + i]) + b"\x86"
    number = pickle.dumps(marker, 2)[2:-1]
    if zipped:
        with zipfile.ZipFile(path) as archive:
            contents = archive.read("a/data.pkl")
        repacked(path, more={"a/data.pkl": contents.replace(number, program)})
    else:
        path.write_bytes(path.read_bytes().replace(number, program))
    begun = time.monotonic()
    assert refusal(path) == "its pickle uses a tuple as a key, which is not supported"
    assert time.monotonic() - begun < 5


def test_an_exported_graph_is_told(tmp_path):
    torch.export.save(torch.export.export(torch.nn.Linear(2, 3), (torch.zeros(1, 2),)), tmp_path / "a.pt2")
    assert refusal(tmp_path / "a.pt2") == (
        "it is a graph of torch.export, expected weights: give the network that was exported"
    )


@BOTH
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_damaged(tmp_path, keep, zipped):
    path = saved(tmp_path / "a.pt", {"g_ema": {f"t{i}": torch.ones(50) for i in range(9)}}, zipped)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert re.match("it is (cut short or )?damaged", refusal(path))


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    with (tmp_path / "a.pt").open("wb") as file:
        file.truncate(2**33 + 2**30)  # which takes no room on the disk
    assert refusal(tmp_path / "a.pt") == "it has 9.0 GiB, more than the limit of 8 GiB"


def test_a_pickle_that_goes_on_and_on_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", ["x" * 1000] * 10, zipped=False)
    whole = path.read_bytes()
    end = whole.index(b"]")  # of the list, in the fourth pickle
    path.write_bytes(whole[:end] + b"N0" * 500_000 + whole[end:])  # pushes None and pops it
    assert refusal(path) == "its pickle has more than 1,000,000 instructions, the limit"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**12),
        torch.zeros(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.zeros(3, dtype=torch.complex64),
        "text",
    ],
    ids=["expanded", "meta", "sparse", "complex", "text"],
)
def test_what_is_no_plain_tensor_is_refused(tensor):
    with pytest.raises(ValueError, match=r"^'x' in its g_ema is not a plain tensor$"):
        plain_tensors({"a": torch.ones(2), "x": tensor}, "g_ema", 1000)


@pytest.mark.parametrize("found", [[torch.ones(2)], {3: torch.ones(2)}, {"a\n": torch.ones(2)}, None])
def test_what_is_no_table_of_tensors_is_refused(found):
    with pytest.raises(ValueError, match=r"^its g_ema is not a table of tensors$"):
        plain_tensors(found, "g_ema", 1000)


@pytest.mark.parametrize(
    "offset, size, stride",
    [(0, (3,), (2**40,)), (4, (2,), (1,)), (-1, (2,), (1,)), (0, (2,), (1, 1)), (2.0, (1,), (1,))],
)
def test_tensors_beyond_their_numbers(offset, size, stride):
    with pytest.raises(ValueError, match="it is damaged"):
        rebuilt(Storage(torch.zeros(5)), offset, size, stride)
    with pytest.raises(ValueError, match="it is damaged"):
        rebuilt(torch.zeros(5), offset, size, stride)


def of_python_2(items: bytes) -> bytes:
    """A file of the first PyTorch: texts are byte strings, and a dict is made of a list of its items."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    start = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system))
    contents = b"\x80\2ccollections\nOrderedDict\n](" + items + b"e\x85R."
    return (
        start
        + contents
        + pickle.dumps(["7"], 2)
        + (2).to_bytes(8, "little")
        + np.array([1.5, 2.5], np.float32).tobytes()
    )


def test_a_file_of_python_2(tmp_path):
    tensor = b"ctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\nU\0017U\3cpuK\2NtQK\0K\2\x85K\1\x85tR"
    (tmp_path / "a.pth").write_bytes(of_python_2(b"](U\6weight" + tensor + b"e"))
    found = read(tmp_path / "a.pth")
    assert list(found) == ["weight"] and found["weight"].tolist() == [1.5, 2.5]
    for wrong in (b"](U\6weighte", b"N", b"U\2ab"):
        (tmp_path / "a.pth").write_bytes(of_python_2(wrong))
        assert refusal(tmp_path / "a.pth") == "it is damaged (a dict is not made of pairs)"
    nested = b"]" + b"q\0(" + b"U\1aU\1b\x86" * 5_000 + b"e0" + b"ccollections\nOrderedDict\nh\0\x85R0" * 1_000 + b"]"
    (tmp_path / "a.pth").write_bytes(of_python_2(nested))
    assert refusal(tmp_path / "a.pth") == "its dicts have more items than any file of weights needs"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compress": True}, "its archive is compressed, unlike archives of torch.save"),
        ({"twice": "a/version"}, "its archive has two files of one name"),
        ({"more": {"a/constants.pkl": b""}}, "it is a TorchScript program, expected weights"),
        ({"more": {"b/data.pkl": b""}}, NO_PICKLE),
        ({"more": {"a/data.pkl": bytes(2**21 + 1)}}, "its data.pkl is longer than 2 MiB"),
        ({"more": {"a/data/0": b"x"}}, "it is damaged (a tensor claims 6 numbers, which are missing)"),
        ({"more": {"a/byteorder": b"middle"}}, "it is damaged, or not a file of torch.save: download it again"),
    ],
)
def test_strange_archives_are_refused(tmp_path, changes, reason):
    path = saved(tmp_path / "a.pt", STATE)
    repacked(path, **changes)
    assert refusal(path) == reason


def test_a_second_pickle_in_an_archive_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/DATA.PKL", "A/data.pkl", "a\\data.pkl", "a/data.pkl/"):
        path = saved(tmp_path / "a.pt", STATE)
        repacked(path, more={name: pickle.dumps(Mark(os.system, "touch mark"), protocol=2)})
        try:
            assert torch.equal(read(path)["a"], STATE["a"])
        except ValueError as error:
            assert str(error) in (NO_PICKLE, "its archive has two files of one name")
        assert not Path("mark").exists()


def test_a_changed_bit_is_noticed(tmp_path):
    path = saved(tmp_path / "a.pt", {"a": torch.arange(400.0)})
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(400.0).numpy().tobytes()) + 99] ^= 1
    path.write_bytes(data)
    assert refusal(path) == "it is damaged, or not a file of torch.save: download it again"


def test_an_archive_without_sums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "a.pt", STATE)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read(path)["a"], STATE["a"])


def test_records_that_overlap_are_refused(tmp_path):
    tensors = {str(i): torch.zeros(1000) for i in range(30)}
    path = saved(tmp_path / "a.pt", tensors)
    repacked(path)
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.getinfo("a/data/0")
        for i in range(1, 30):  # the same bytes under all names
            archive.getinfo(f"a/data/{i}").header_offset = first.header_offset
        archive._didModify = True
    assert "damaged" in refusal(path)
