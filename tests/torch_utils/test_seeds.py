import itertools

import pytest
import torch

from torch_utils import seeds


def test_recorded_values_hold_on_every_platform():
    assert seeds.derive() == RECORDED[0]
    assert seeds.derive(0) == RECORDED[1]
    assert seeds.derive(7, 123456789, "D", 3, "latents") == RECORDED[2]
    assert seeds.derive("Rauschen äöü 雑音", -1, 2**200) == RECORDED[3]


def test_no_two_spellings_of_a_key_meet():
    parts: list[int | str] = [0, 1, -1, 10, "", "0", "1", "10", "a", "ab", "b", "i", "s", "i1", 2**64, 2**64 + 1]
    keys = [key for length in range(4) for key in itertools.product(parts, repeat=length)]
    assert len({seeds.derive(*key) for key in keys}) == len(keys)
    assert all(0 <= seeds.derive(*key) < 2**63 for key in keys)


def test_numbers_of_any_library_count_as_whole_numbers():
    assert seeds.derive(torch.tensor(5)) == seeds.derive(5)


@pytest.mark.parametrize("part", [True, 1.0, None])
def test_parts_without_an_agreed_spelling_are_refused(part):
    with pytest.raises(TypeError):
        seeds.derive(part)


def test_a_generator_depends_on_its_key_alone():
    first = torch.randn(4, generator=seeds.generator("cpu", 1, "G"))
    torch.randn(100)
    assert torch.equal(first, torch.randn(4, generator=seeds.generator("cpu", 1, "G")))
    assert not torch.equal(first, torch.randn(4, generator=seeds.generator("cpu", 1, "D")))


RECORDED = [6510301506637419378, 7552799593083971110, 327724994789798340, 2693728999587739198]
