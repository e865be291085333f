"""Features stay in one memory format in all blocks, forward and backward.

A guard of speed, which names PyTorch's operators: run it with --proof.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from custom_ops import convolution
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from tests.networks import tiny_discriminator, tiny_generator

pytestmark = pytest.mark.proof
COPIES = ("aten.clone", "aten.copy_", "aten._to_copy", "aten.contiguous")
VIEWS = ("aten.view", "aten.permute", "aten.transpose", "aten.expand", "aten._unsafe_view")


class Watch(TorchDispatchMode):
    """Notes every copy of a batch of features, those into another type apart, and features that lie otherwise."""

    def __init__(self, batch: int, smallest: int) -> None:
        super().__init__()
        self.batch, self.smallest = batch, smallest
        self.copies: list[tuple[str, tuple[int, ...]]] = []
        self.turned: list[tuple[str, tuple[int, ...]]] = []
        self.converted: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.ndim == 4 and out.shape[0] == self.batch and self._wide(out):
            name = str(func)
            if name.startswith("aten._to_copy") and out.dtype != args[0].dtype:
                self.converted.append(tuple(out.shape))
            elif name.startswith(COPIES):
                self.copies.append((name, tuple(out.shape)))
            if not name.startswith(VIEWS) and not out.is_contiguous(memory_format=torch.channels_last):
                self.turned.append((name, tuple(out.shape)))
        return out

    def _wide(self, t: torch.Tensor) -> bool:
        return t.shape[1] > 4 and t.shape[2] >= self.smallest and t.shape[3] > 1


@pytest.fixture(autouse=True)
def _instructions_for_bfloat16(monkeypatch):
    """Without them every convolution of bfloat16 is converted there and back."""
    monkeypatch.setattr(convolution, "_BFLOAT16_BY_LOOPS", False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_generator_keeps_the_layout_of_features(precision):
    G = tiny_generator().train().set_precision(precision).requires_grad_(True)
    assert isinstance(G, Generator)
    ws = G.ws(torch.randn(5, 8))
    with Watch(batch=5, smallest=8) as watch:
        G.synthesis(ws).sum().backward()
    assert not watch.copies and not watch.turned and not watch.converted


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_discriminator_keeps_the_layout_of_features(precision):
    """In bfloat16 the smallest block, of 8x8, computes in float32: features are converted on the way in, and back."""
    D = tiny_discriminator().train().set_precision(precision).requires_grad_(True)
    assert isinstance(D, Discriminator)
    with Watch(batch=5, smallest=8) as watch:
        D(torch.randn(5, 3, 16, 16)).sum().backward()
    assert not watch.copies and not watch.turned
    assert watch.converted == ([(5, 16, 8, 8)] * 2 if precision == "bf16" else [])
