import json
import struct

import pytest
import torch

from models.families import load_network, save_network
from models.stylegan2.directionfile import (
    Directions,
    check_fit,
    check_names,
    fingerprint,
    load_directions,
    move,
    save_directions,
)
from tests.networks import save_tiny, tiny_generator
from torch_utils import checkpoint

L, D = 6, 8
WANTED = "give a directions.safetensors that directions.py wrote"


def some(**changes):
    vectors = torch.nn.functional.normalize(torch.randn(3, D, generator=torch.Generator().manual_seed(0)))
    whole = {
        "names": ("smile", "left turn", "age"),
        "vectors": vectors,
        "scales": torch.tensor([0.5, 1.0, 2.0]),
        "layers": ((0, 1, 2), (5,), tuple(range(L))),
        "method": "labels",
        "num_ws": L,
        "network": fingerprint(tiny_generator()),
    }
    return Directions(**whole | changes)


def test_a_step_moves_its_layers_and_no_others():
    ws, n = torch.randn(2, L, D), torch.randn(D)
    before = ws.clone()
    moved = move(ws, n, -1.5, [0, 3])
    expected = ws.clone()
    for layer in (0, 3):
        expected[:, layer] = ws[:, layer] - 1.5 * n
    torch.testing.assert_close(moved, expected)
    assert torch.equal(moved[:, [1, 2, 4, 5]], ws[:, [1, 2, 4, 5]]) and torch.equal(ws, before)


def test_no_step_is_no_change_to_the_bit():
    ws = torch.tensor([[[-0.0, 1e-40, 3.0]]])
    moved = move(ws, torch.full([3], torch.inf), 0.0, [0])
    assert torch.equal(moved.view(torch.int32), ws.view(torch.int32))


def test_strength_1_is_one_standard_deviation_in_the_directions_own_layers():
    directions, ws = some(), torch.zeros(1, L, D)
    moved = directions.step(0, 3.0, ws)
    torch.testing.assert_close(moved[0, :3], (1.5 * directions.vectors[0]).expand(3, D))
    assert not moved[0, 3:].any()
    elsewhere = directions.step(0, 3.0, ws, layers=[4])
    assert elsewhere[0, 4].any() and not elsewhere[0, [0, 1, 2, 3, 5]].any()


def test_directions_are_found_by_name_and_number():
    assert some().find("age, 0,left turn,2") == [2, 0, 1]
    with pytest.raises(ValueError) as error:
        some().find("smile,3")
    assert str(error.value) == "directions: got '3', expected some of 0 smile, 1 left turn, 2 age"


@pytest.mark.parametrize("name", ["", " a", "a,b", "a/b", "a\\b", "a\nb", "a:b", "a*", "12", ".a"])
def test_names_that_lists_and_files_cannot_hold(name):
    with pytest.raises(ValueError) as error:
        check_names([name])
    assert str(error.value) == f"{name!r} cannot name a direction: write letters, digits, spaces, dots, - and _"
    with pytest.raises(ValueError, match=r"^two directions are called 'a': give each its own name$"):
        check_names(["a", "b", "a"])


def test_a_file_gives_back_what_was_saved(tmp_path):
    path, directions = tmp_path / "directions.safetensors", some()
    save_directions(path, directions, found=[{"r": 0.5}])
    loaded = load_directions(path)
    assert torch.equal(loaded.vectors, directions.vectors) and torch.equal(loaded.scales, directions.scales)
    for field in ("names", "layers", "method", "num_ws", "network"):
        assert getattr(loaded, field) == getattr(directions, field)
    assert checkpoint.load(path)[1]["found"] == [{"r": 0.5}]


def test_files_that_are_none(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError) as missing:
        load_directions(path)
    assert str(missing.value) == f"there is no file {path}: {WANTED}"
    save_tiny(path)
    with pytest.raises(ValueError) as network:
        load_directions(path)
    assert str(network.value) == f"{path} is not a file of directions: {WANTED}"
    header = json.dumps({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError) as foreign:
        load_directions(path)
    assert str(foreign.value) == f"{path} is not a file of directions: {WANTED}"
    path.write_bytes(b"seed,smile")
    with pytest.raises(checkpoint.DamagedError):
        load_directions(path)
    table = path.rename(tmp_path / "labels.csv")
    with pytest.raises(ValueError) as other:
        load_directions(table)
    assert str(other.value) == f"{table} is not a file of directions: {WANTED}"


def _rewritten(path, tensors=None, **metadata):
    save_directions(path, some())
    old_tensors, old_metadata = checkpoint.load(path)
    checkpoint.save(path, old_tensors | (tensors or {}), old_metadata | metadata)
    with pytest.raises(ValueError) as error:
        load_directions(path)
    return str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["a", "b"]},
        {"names": ["a", "a", "b"]},
        {"names": 3},
        {"layers": [[0], [1], [6]]},
        {"layers": [[0], [1], [-1]]},
        {"layers": [[0], [1], []]},
        {"layers": [[0], [1], ["x"]]},
        {"layers": [[0], [1], [float("inf")]]},  # 1e400
        {"layers": [[0], [1], [2.5]]},
        {"layers": [[0], [1], "12"]},
        {"layers": 3},
        {"num_ws": None},
        {"num_ws": float("inf")},
        {"num_ws": True},
        {"names": ["a", "b", ["c"]]},
        {"method": ["sefa"]},
        {"network": 7},
        {"tensors": {"vectors": torch.ones(3, D)}},
        {"tensors": {"vectors": torch.full([3, D], torch.nan)}},
        {"tensors": {"vectors": torch.ones(3)}},
        {"tensors": {"scales": torch.tensor([1.0, 0.0, 1.0])}},
        {"tensors": {"scales": torch.tensor([1.0, torch.inf, 1.0])}},
        {"tensors": {"scales": torch.ones(2)}},
    ],
)
def test_files_whose_contents_are_not_directions(tmp_path, change):
    path = tmp_path / "a.safetensors"
    told = _rewritten(path, **change)
    assert told == f"{path} is damaged (its directions are not complete): use an older file, or make a new one"


def test_a_file_of_a_later_version(tmp_path):
    path = tmp_path / "a.safetensors"
    assert _rewritten(path, version=2) == (
        f"{path} holds directions of format 2, which this program is too old for: update the program"
    )
    told = _rewritten(path, version=[[1] * 1000] * 1000)
    assert told == f"{path} holds directions of format a list, which this program is too old for: update the program"


def test_a_fingerprint_is_of_the_weights_whatever_they_are_stored_in(tmp_path):
    G = tiny_generator()
    kept = {}
    for name, dtype in (("whole", torch.float32), ("half", torch.float16)):
        save_network(tmp_path / name, "stylegan2", {"G_ema": G}, {}, dtype)
        kept[name] = fingerprint(load_network(tmp_path / name))
    assert kept["whole"] == kept["half"] == fingerprint(G) and len(kept["half"]) == 16
    G.mapping.layers[0].weight[0, 0] += 1
    assert fingerprint(G) != kept["whole"]


def test_directions_of_this_and_of_another_network(tmp_path):
    path = tmp_path / "a.safetensors"
    assert check_fit(some(), tiny_generator(), path) == ""
    assert check_fit(some(), tiny_generator(classes=2), path) == (
        f"{path} was made with another network: its directions may mean something else in this one"
    )
    with pytest.raises(ValueError) as narrow:
        check_fit(some(), tiny_generator(w_dim=4), path)
    assert str(narrow.value) == (
        f"{path} holds directions of 8 numbers, but this network's w has 4: "
        "give the network that they were found in, or find this network's own"
    )
    with pytest.raises(ValueError) as shallow:
        check_fit(some(), tiny_generator(height=8, width=8), path)
    assert str(shallow.value) == (
        f"{path} holds directions that act on layer 5, but this network's layers are 0-3: "
        "give the network that they were found in, or find this network's own"
    )
