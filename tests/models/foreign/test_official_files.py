"""Official pickles without networks, too large, or with numbers that are used many times over."""

from pathlib import Path

import pytest
import torch

from tests.models.foreign import pickled
from tests.models.foreign.networks import generator_tensors, official, open_foreign
from tests.models.foreign.test_official_refusals import parameters


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        open_foreign(path)
    return str(error.value).removeprefix(f"{path} is refused: ")


def test_files_without_networks(tmp_path):
    path = tmp_path / "a.pkl"
    values = (({"a": 1}, "a dict"), ([], "[]"), (5, "5"), ({"G_ema": official()["G_ema"], "G": 3}, "a dict"))
    for value, what in (*values, ((1, 2, 3), "(1, 2, 3)")):
        pickled.write(path, value)
        assert refusal(path) == f"it holds {what}, expected the networks G, D and G_ema"
    path.write_bytes(path.read_bytes() + b"more")
    assert refusal(path) == "it is damaged (bytes follow the end of its pickle)"


def test_numbers_used_many_times_over(tmp_path):
    """All convolutions share one tensor, so that the network is larger than the file."""
    tensors = generator_tensors(height=64, width=64, channel_base=2048, channel_max=32)
    shared = torch.nn.Parameter(torch.zeros(32, 32, 3, 3))
    G = pickled.generator(tensors)
    for name, tensor in tensors.items():
        if tensor.shape == shared.shape:
            parameters(G, name.removesuffix(".weight"))["weight"] = shared
    path = pickled.write(tmp_path / "a.pkl", G)
    assert refusal(path) == "its tensors take more bytes than the file, by using some many times"


def test_too_large_a_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.pkl"
    with path.open("wb") as file:
        file.write(b"\x80\4\x95" + b"\1" * 8)
        file.truncate(5 * 2**30)  # takes no room
    assert refusal(path) == "it has 5.0 GiB, and files of networks have at most 4"
