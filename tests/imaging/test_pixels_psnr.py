import pytest
import torch

from imaging.pixels import psnr


def test_psnr_is_its_closed_form():
    pixels = torch.full([3, 3, 4, 4], 100, dtype=torch.uint8)
    others = pixels + torch.tensor([1, 5, 0], dtype=torch.uint8)[:, None, None, None]
    found = psnr(pixels, others).tolist()
    assert found[0] == pytest.approx(48.1308, abs=1e-4)  # 20 log10 255
    assert found[1] == pytest.approx(48.1308 - 13.9794, abs=1e-4)  # 20 log10 5 less
    assert found[2] == float("inf")


def test_black_and_white_are_0_db_apart():
    black, white = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.full([1, 1, 2, 2], 255, dtype=torch.uint8)
    assert float(psnr(black, white)) == float(psnr(white, black)) == 0
