import math
import random
import re
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from torch_utils import checkpoint

ROOT = Path(__file__).parents[2]
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


def _tensors():
    draws = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=draws)
    return {
        **{str(dtype): (base * 50).to(dtype) for dtype in DTYPES},
        "scalar": torch.tensor(1 / 3, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "special": torch.tensor([math.nan, math.inf, -math.inf, -0.0, 5e-324], dtype=torch.float64),
        "base": base,
        "alias": base,
        "row": base[1],
        "transposed": base.t(),
        "strided": base[:, ::2],
        "expanded": base[:1].expand(4, 6),
        "channels_last": torch.randn(2, 3, 4, 4, generator=draws).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def _same(a, b):
    """Bit for bit, dtype and shape included."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    bits = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*bits)


def test_what_is_saved_is_loaded_exactly(tmp_path):
    tensors, metadata = _tensors(), {"kimg": 12.8, "name": "ü", "nested": {"list": [1, None, True]}}
    checkpoint.save(tmp_path / "a.safetensors", tensors, metadata)
    for check in (True, False):
        loaded, told = checkpoint.load(tmp_path / "a.safetensors", check)
        assert told == metadata
        assert loaded.keys() == tensors.keys()
        assert all(_same(loaded[name], tensors[name]) for name in tensors)


def test_a_full_disk_damages_nothing(tmp_path):
    path, previous = tmp_path / "state.safetensors", tmp_path / "state-previous.safetensors"
    for step in range(2):
        checkpoint.save(path, {"step": torch.tensor(step)}, {"step": step}, previous)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the system's own refusal to write on
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoint.save(path, {"step": torch.zeros(100_000)}, {}, previous)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [previous.name, path.name]
    assert checkpoint.load(path)[1] == {"step": 1}
    assert checkpoint.load(previous)[1] == {"step": 0}


def test_every_damage_is_noticed(tmp_path):
    path, draws = tmp_path / "state.safetensors", random.Random(0)
    checkpoint.save(path, _tensors(), {"kimg": 12.8, "config": {"seed": 0}})
    whole = path.read_bytes()
    for _ in range(200):
        path.write_bytes(_harmed(whole, draws))
        with pytest.raises(checkpoint.DamagedError, match="is damaged"):
            checkpoint.load(path)


def _harmed(whole, draws):
    kind = draws.randrange(4)
    harmed = bytearray(whole)
    if kind == 0:  # cut short
        return harmed[: draws.randrange(len(whole))]
    if kind == 1:  # a block of zeros, as after a lost write
        start, length = draws.randrange(len(whole)), draws.choice([1, 64, 4096])
        harmed[start : start + length] = bytes(len(harmed[start : start + length]))
    elif kind == 2:  # one bit, mostly of the header
        harmed[draws.randrange(draws.choice([16, 2000, len(whole)]))] ^= 1 << draws.randrange(8)
    if kind == 3 or harmed == whole:
        return harmed + draws.randbytes(draws.randrange(1, 99))
    return harmed


def test_messages(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {path}: give the path of")):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {tmp_path}: give the path of")):
        checkpoint.load(tmp_path)
    path.write_bytes(b"PK\x03\x04 not this")
    _refused(
        path, f"{path} is damaged (it is cut short, or not a safetensors file): use an older file, or make a new one"
    )
    save_file({"a": torch.zeros(1)}, path)
    _refused(
        path,
        f"{path} is damaged (it has no digest: another program wrote or changed it): "
        "use an older file, or make a new one",
    )
    assert checkpoint.load(path, check=False)[1] == {}
    save_file({"a": torch.zeros(1)}, path, {"sha256": "0" * 64, "metadata": "{}"})
    _refused(path, f"{path} is damaged (its contents do not match its digest): use an older file, or make a new one")


def _refused(path, message):
    with pytest.raises(checkpoint.DamagedError, match=re.escape(message) + "$"):
        checkpoint.load(path)


def test_the_newest_whole_one_is_taken(tmp_path):
    path, previous = tmp_path / "state.safetensors", tmp_path / "state-previous.safetensors"
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {path}: give the path of")):
        checkpoint.load_newest(path, previous)
    checkpoint.save(path, {}, {"step": 1}, previous)
    assert checkpoint.load_newest(path, previous)[1:] == ({"step": 1}, path, "")
    checkpoint.save(path, {}, {"step": 2}, previous)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    loaded = checkpoint.load_newest(path, previous)
    assert (loaded.metadata, loaded.path) == ({"step": 1}, previous)
    why = "it is cut short, or not a safetensors file"
    assert loaded.note == f"{path} is damaged ({why}): loaded {previous.name} instead"
    previous.write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(f"{path} is damaged ({why}), and {previous.name} is damaged")):
        checkpoint.load_newest(path, previous)
    previous.unlink()
    with pytest.raises(checkpoint.DamagedError):
        checkpoint.load_newest(path, previous)
    checkpoint.save(previous, {}, {"step": 1})
    path.unlink()
    assert checkpoint.load_newest(path, previous).note == f"{path} is missing: loaded {previous.name} instead"


def test_an_optimizer_comes_back_through_a_file(tmp_path):
    model = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters(), lr=0.1 + 0.2, betas=(0.0, 0.99))
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    tree = {"adam": adam.state_dict(), "seen": 2**70, "p": [0.1, -0.0, math.inf, 5e-324], "note": None, "on": True}
    tensors, skeleton = checkpoint.pack(tree)
    checkpoint.save(tmp_path / "a", tensors, {"tree": skeleton})
    loaded, metadata = checkpoint.load(tmp_path / "a")
    assert "adam.state.0.exp_avg" in loaded
    _assert_equal(checkpoint.unpack(loaded, metadata["tree"]), tree)


@pytest.mark.parametrize(
    "tree",
    [
        torch.ones(2),
        {},
        [],
        (),
        3,
        {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, "a.b'": torch.tensor(3)},
        {1: torch.tensor(1), "1": torch.tensor(2)},
        {"tensor": "x", "dict": {"tuple": []}, "": {"": torch.zeros(0)}},
        {"__metadata__": torch.tensor(1)},
        [[torch.tensor(True)], ({"x": (1, 2.0, "1")},)],
        {"text": '"\\ \n ü \ud800', "large": 10**30},
    ],
)
def test_packing_is_exact(tree, tmp_path):
    tensors, skeleton = checkpoint.pack(tree)
    checkpoint.save(tmp_path / "a", tensors, {"tree": skeleton})
    loaded, metadata = checkpoint.load(tmp_path / "a")
    _assert_equal(checkpoint.unpack(loaded, metadata["tree"]), tree)


@pytest.mark.parametrize("tree", [{"a": object()}, {"a": {1, 2}}, {1.5: 2}, {True: 1}, {"f": len}])
def test_what_cannot_be_said_is_not_packed(tree):
    with pytest.raises(TypeError):
        checkpoint.pack(tree)


def _assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert _same(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            _assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for ours, theirs in zip(a, b, strict=True):
            _assert_equal(ours, theirs)
    else:
        assert repr(a) == repr(b)


def test_a_checkpoint_has_the_permissions_of_any_new_file(tmp_path):
    checkpoint.save(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {})
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_equal_contents_are_equal_files(tmp_path):
    tensors = {f"layer{k}": torch.arange(k + 1.0) for k in range(4)}
    made = set()
    for k in range(12):
        checkpoint.save(tmp_path / f"{k}.safetensors", tensors, {"name": "Zoë", "kimg": 1.5})
        made.add((tmp_path / f"{k}.safetensors").read_bytes())
    assert len(made) == 1
    assert checkpoint.load(tmp_path / "0.safetensors")[1] == {"name": "Zoë", "kimg": 1.5}
