import functools
import operator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.sampler import SeedStream
from models.stylegan2.latents import layer_range, mix
from models.stylegan2.mapping import truncate

L, D = 10, 4


def _ws(seed, count=3):
    return torch.randn(count, L, D, generator=torch.Generator().manual_seed(seed))


def test_a_seed_gives_the_published_latent():
    # The first normal numbers of numpy's frozen RandomState(0), to the digits that its documentation prints.
    assert SeedStream(0).normal(3).tolist() == pytest.approx([1.76405235, 0.40015721, 0.97873798], abs=1e-7)
    for seed in (7, 2**32 - 1, 0):
        z = SeedStream(seed).normal(16)
        assert z.dtype == torch.float32
        assert np.array_equal(z.numpy(), np.random.RandomState(seed).randn(1, 16)[0].astype(np.float32))


@pytest.mark.parametrize("cutoff", [None, 0, 1, 7, L])
@pytest.mark.parametrize("psi", [-1.0, 0.0, 0.7, 1.0, 1.5])
def test_truncation_is_its_closed_form(psi, cutoff):
    ws, average = _ws(0), torch.randn(D, generator=torch.Generator().manual_seed(1))
    expected = ws.double().clone()
    count = L if cutoff is None else cutoff
    expected[:, :count] = average.double() + psi * (expected[:, :count] - average.double())
    torch.testing.assert_close(truncate(ws, average, psi, cutoff).double(), expected, rtol=0, atol=1e-6)


def test_truncation_is_exact_where_it_can_be():
    ws, average = _ws(0), torch.randn(D, generator=torch.Generator().manual_seed(1))
    assert torch.equal(truncate(ws, average, 1), ws)
    assert torch.equal(truncate(ws, average, 0.5, cutoff=0), ws)
    assert torch.equal(truncate(ws, average, 0), average.expand_as(ws))
    assert torch.equal(truncate(ws, average, 0.5, cutoff=4)[:, 4:], ws[:, 4:])


@given(st.sets(st.integers(0, L - 1)))
def test_mixing_takes_the_given_layers_from_the_column_and_the_others_from_the_row(layers):
    rows, cols = _ws(0), _ws(1)
    mixed = mix(rows, cols, sorted(layers))
    for i in range(L):
        assert torch.equal(mixed[:, i], (cols if i in layers else rows)[:, i])


@pytest.mark.parametrize("num_ws", [8, 10, 14, 18])
def test_coarse_middle_and_fine_are_all_layers(num_ws):
    parts = [layer_range(name, num_ws) for name in ("coarse", "middle", "fine")]
    assert functools.reduce(operator.iadd, parts, []) == list(range(num_ws))
    assert [len(part) for part in parts] == [3, 4, num_ws - 7]


@pytest.mark.parametrize(
    ("text", "layers"),
    [("0-6", [0, 1, 2, 3, 4, 5, 6]), ("3", [3]), ("0,2,5-7", [0, 2, 5, 6, 7]), ("5, 2,2-3", [2, 3, 5]), ("0-0", [0])],
)
def test_layers_are_spelled_as_numbers_and_ranges(text, layers):
    assert layer_range(text, L) == layers


@pytest.mark.parametrize("text", ["", "rough", "Coarsely", "-1", "1-", "-", "0,,1", "1.5", "0-1-2"])
def test_layers_that_mean_nothing_are_refused(text):
    with pytest.raises(ValueError) as error:
        layer_range(text, L)
    assert str(error.value) == f"layers: got {text!r}, expected coarse, middle, fine or a list such as 0-6 or 0,2,5-7"


@pytest.mark.parametrize("text", ["10", "0-10", "3,11"])
def test_layers_that_the_network_lacks_are_refused(text):
    with pytest.raises(ValueError) as error:
        layer_range(text, L)
    assert str(error.value) == f"layers: got {text!r}, but this network has the layers 0-9"


@pytest.mark.parametrize(("name", "num_ws"), [("fine", 7), ("middle", 3)])
def test_words_that_name_no_layer_of_a_small_network_are_refused(name, num_ws):
    with pytest.raises(ValueError) as error:
        layer_range(name, num_ws)
    assert str(error.value) == f"layers: a network with {num_ws} layers of w has no {name} layers"
